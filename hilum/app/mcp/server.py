"""The tools, as an agent sees them; whatever happens, what leaves is an id, short JSON, a picture or one sentence."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any, Literal

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent, ToolAnnotations
from pydantic import Field

from ...values import progress
from ...values.answers import Segmentation
from ...values.errors import BadInput, HilumError
from ...values.notice import NOTICE, SENTENCE
from ..outcome import sentence, unexpected
from . import pictures as drawn
from . import told
from .desk import Desk
from .prompts import Boxes, Names, Points, Text, Unit, prompts

INSTRUCTIONS = (
    f"Foundation models of medical imaging. {SENTENCE} The user registered images; name them by the ids that "
    "list_images gives. Places are voxels counted from 0, as x, y (and z in volumes), or with unit mm patient "
    "millimetres (LPS). Look at a plane with show_image before you point at something. Answers are model output and "
    "have not been checked by a person: say so when you report them."
)
System = Annotated[Text | None, Field(description="a name of list_systems; left out, the best one that is here")]
ImageId = Annotated[Text, Field(description="an id of list_images")]
AnswerId = Annotated[Text, Field(description="an id that ask gave")]
Suffix = Literal["nii.gz", "dcm", "seg.nrrd", "png", "npz", "json"]
READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
WRITES = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)


def serving(desk: Desk, *, pictures: bool = True) -> MCPServer:
    """The server of one desk; without `pictures` an agent is told numbers only."""
    server = MCPServer("hilum", instructions=INSTRUCTIONS, version=version("hilum"), log_level="CRITICAL")
    tools = Tools(desk, pictures=pictures)
    reading: list[Callable[..., Any]] = [tools.list_systems, tools.describe_system, tools.list_images, tools.ask]
    for tool in [*reading, *([tools.show_image] if pictures else [])]:
        server.add_tool(tool, annotations=READS)
    server.add_tool(tools.save_answer, annotations=WRITES)
    return server


class Tools:
    """Each method is a tool; its annotations are the schema that an agent reads."""

    def __init__(self, desk: Desk, *, pictures: bool):
        self.desk, self.pictures = desk, pictures

    async def list_systems(
        self,
        context: Context,
        takes: Annotated[Text | None, Field(description="points, box, labels, question, ...")] = None,
        modality: Annotated[Text | None, Field(description="DICOM's code, such as CT, MR, DX")] = None,
    ) -> CallToolResult:
        """List the systems that take a prompt or are meant for a modality, and whether their weights are here."""
        from ... import registry

        def work() -> CallToolResult:
            names = registry.names(accepts=takes, modality=modality)
            return self._said({"systems": [told.listed(registry.card(name)) for name in names], "notice": NOTICE})

        return await self._done(work, context)

    async def describe_system(self, context: Context, system: Annotated[Text, Field()]) -> CallToolResult:
        """Tell what is true about one system: what it was trained for, takes, gives, and where it deviates."""
        from ... import registry

        def work() -> CallToolResult:
            if not registry.knows(system):
                raise BadInput(f"no system is called {system[:40]!r}: list_systems names all.")
            return self._said(told.described(registry.card(system)))

        return await self._done(work, context)

    async def list_images(self, context: Context) -> CallToolResult:
        """List the images that the user registered: id, size, spacing, modality. Nothing names a patient or a file."""

        def work() -> CallToolResult:
            shelf = self.desk.shelf
            return self._said({"images": [told.image(id, shelf.image(id), shelf.veiled) for id in shelf.places]})

        return await self._done(work, context)

    async def show_image(
        self,
        context: Context,
        image: ImageId,
        axis: Annotated[Literal["x", "y", "z"] | None, Field(description="which axis is looked along")] = None,
        index: Annotated[int | None, Field(description="the plane's voxel index; left out, the middle")] = None,
    ) -> CallToolResult:
        """Show one plane of an image in radiological orientation, and say which voxels its pixels are."""

        def work() -> CallToolResult:
            picture, where = drawn.plane(self.desk.shelf.image(image), axis, index)
            return self._said({"image": image, **where}, picture)

        return await self._done(work, context)

    async def ask(
        self,
        context: Context,
        image: ImageId,
        system: System = None,
        boxes: Boxes | None = None,
        points: Points | None = None,
        labels: Annotated[Names | None, Field(description="names of classes, such as liver or pneumonia")] = None,
        question: Text | None = None,
        unit: Unit = "voxel",
    ) -> CallToolResult:
        """Ask a system about an image: boxes and clicks give masks, labels give scores or organs, a question a reply.

        Say all prompts of an object each time: asking again with one more click refines its mask, and is quick.
        """

        def work() -> CallToolResult:
            said = prompts(boxes or [], points or [], labels or [], question, unit)
            id, answer = self.desk.ask(image, said, system)
            picture = None
            if self.pictures and isinstance(answer, Segmentation) and answer.names:
                picture = drawn.preview(answer, [prompt for _, prompt in said])
            return self._said({"answer": id, "image": image, **told.answer(answer, self.desk.shelf.veiled)}, picture)

        return await self._done(work, context)

    async def save_answer(self, context: Context, answer: AnswerId, format: Suffix = "nii.gz") -> CallToolResult:
        """Save an answer into the folder that the user named at the start, under its id: masks as nii.gz, dcm (SEG),
        seg.nrrd or png; scores and replies as json; vectors as npz."""

        def work() -> CallToolResult:
            return self._said({"saved": self.desk.save(answer, format)})

        return await self._done(work, context)

    @staticmethod
    def _said(content: dict[str, Any], picture: bytes | None = None) -> CallToolResult:
        blocks: list[ContentBlock] = [
            TextContent(type="text", text=json.dumps(content, ensure_ascii=False, allow_nan=False))
        ]
        if picture is not None:
            data = base64.b64encode(picture).decode()
            blocks.append(ImageContent(type="image", data=data, mime_type="image/png"))
        return CallToolResult(content=blocks, structured_content=content)

    async def _done(self, work: Callable[[], CallToolResult], context: Context) -> CallToolResult:
        """Runs in a thread, tells its progress, and ends with a sentence where it fails."""

        def listened() -> CallToolResult:
            with progress.heard_by(Relayed(context, self.desk.shelf.veiled)):
                return work()

        try:
            return await anyio.to_thread.run_sync(listened)
        except HilumError as error:
            return self._failed(sentence(error))
        except Exception as error:  # its text may quote a file
            return self._failed(unexpected(error))

    def _failed(self, words: str) -> CallToolResult:
        return CallToolResult(content=[TextContent(type="text", text=self.desk.shelf.veiled(words))], is_error=True)


class Relayed:
    """A listener that passes progress on to the agent's program; if that called its question off, the work ends."""

    def __init__(self, context: Context, veiled: Callable[[str], str]):
        self.context, self.veiled = context, veiled

    def __call__(self, what: str, done: int, total: int | None) -> None:
        anyio.from_thread.check_cancelled()
        anyio.from_thread.run(self.context.report_progress, done, total or None, self.veiled(what))
