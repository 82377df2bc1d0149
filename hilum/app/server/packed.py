"""Answers as bytes: masks cropped to what they hold, one bit a voxel; read back on the image that they belong to."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np

from ...values.answers import Answer, Embedding, Findings, Reply, Scores, Segmentation, tight_box
from ...values.image import Image
from ...values.provenance import Provenance


def pack(answer: Answer) -> bytes:
    """An .npz without pickles: the answer's arrays, and the rest of it as JSON."""
    told: dict[str, Any] = {"kind": type(answer).__name__, "provenance": answer.provenance.as_dict()}
    arrays: dict[str, np.ndarray] = {}
    match answer:
        case Segmentation():
            told |= {"names": answer.names, "scores": answer.scores, "boxes": []}
            for number, mask in enumerate(answer.masks):
                place = _place(mask)
                told["boxes"].append(None if place is None else [[each.start, each.stop] for each in place])
                if place is not None:
                    arrays[f"mask{number}"] = np.packbits(mask[place])
            if answer.uncertainty is not None:
                arrays["uncertainty"] = answer.uncertainty.astype(np.float32)
        case Scores():
            told |= {"names": answer.names, "texts": answer.texts}
            arrays |= {"similarity": answer.similarity, "softmax": answer.softmax}
            arrays |= {} if answer.probability is None else {"probability": answer.probability}
        case Embedding():
            told |= {"axes": answer.axes, "items": answer.items, "planes": answer.planes}
            arrays["vectors"] = answer.vectors
        case Reply():
            told |= {"text": answer.text, "tokens": answer.tokens}
        case Findings():
            told |= {"items": [dict(item) for item in answer.items]}
    stream = io.BytesIO()
    text = np.frombuffer(json.dumps(told, ensure_ascii=False).encode(), dtype=np.uint8)
    np.savez_compressed(stream, told=text, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def unpack(content: bytes, image: Image) -> Answer:
    """The answer that was packed."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = dict(file)
    told = json.loads(arrays["told"].tobytes())
    made = _provenance(told["provenance"])
    match told["kind"]:
        case "Segmentation":
            masks = np.zeros((len(told["names"]), *image.grid), dtype=bool)
            for number, box in enumerate(told["boxes"]):
                if box is not None:
                    place = tuple(slice(low, high) for low, high in box)
                    shape = tuple(high - low for low, high in box)
                    bits = np.unpackbits(arrays[f"mask{number}"], count=int(np.prod(shape)))
                    masks[number][place] = bits.astype(bool).reshape(shape)
            names, scores = tuple(told["names"]), tuple(told["scores"])
            return Segmentation(masks, names, scores, image, made, arrays.get("uncertainty"))
        case "Scores":
            texts = None if told["texts"] is None else tuple(map(tuple, told["texts"]))
            similarity, softmax = arrays["similarity"], arrays["softmax"]
            return Scores(tuple(told["names"]), similarity, softmax, made, arrays.get("probability"), texts)
        case "Embedding":
            items, planes = (None if told[key] is None else tuple(told[key]) for key in ("items", "planes"))
            return Embedding(arrays["vectors"], tuple(told["axes"]), made, items, planes)
        case "Reply":
            return Reply(told["text"], told["tokens"], made)
        case _:
            return Findings(tuple(told["items"]), made)


def _place(mask: np.ndarray) -> tuple[slice, ...] | None:
    box = tight_box(mask)
    if box is None:
        return None
    return tuple(slice(low, high + 1) for low, high in zip(box[0][::-1], box[1][::-1], strict=True))


def _provenance(told: dict[str, Any]) -> Provenance:
    return Provenance(**{**told, "prompts": tuple(told["prompts"]), "notes": tuple(told["notes"])})
