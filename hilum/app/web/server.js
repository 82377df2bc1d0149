// The server's JSON API. Errors are problems (RFC 9457): their sentence is what is thrown.

export async function call(method, path, body, options = {}) {
  const json = body !== undefined && !(body instanceof FormData);
  const answer = await fetch(path, {
    method,
    headers: json ? { "content-type": "application/json" } : {},
    body: json ? JSON.stringify(body) : body,
    signal: options.signal,
  });
  if (!answer.ok) throw new Error(await sentence(answer));
  if (answer.status === 204) return null;
  return options.blob ? answer.blob() : answer.json();
}

async function sentence(answer) {
  try {
    const problem = await answer.json();
    return problem.detail || problem.title || `the server answered ${answer.status}`;
  } catch {
    return `the server answered ${answer.status}`;
  }
}

// A job that the server did not finish at once: heard until it ends. Returns what it came to.
export async function ended(job, heard) {
  heard(job);
  while (["queued", "running"].includes(job.state)) {
    job = await call("GET", `/api/jobs/${job.id}?wait=0.5`);
    heard(job);
  }
  if (job.state === "failed") throw new Error(job.problem?.detail || "that failed");
  return job;
}
