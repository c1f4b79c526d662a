"""The page: one file, which asks no server and no network for anything.

Text of kernels is data: everything is escaped where it is put in, and the browser is told to run
the one script whose hash stands in the head.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import jinja2

from gptq_fuzz.report.drawn import histogram, picture
from gptq_fuzz.report.facts import Facts, share
from gptq_fuzz.search.coverage import BINS

HERE = Path(__file__).resolve().parent
TYPES = {".svg": "image/svg+xml", ".png": "image/png"}


def page(facts: Facts, title: str, made: str, benchmarks: list[Path] = ()) -> str:
    """The whole page as text; `benchmarks` are pictures, SVG or PNG. Raises OSError."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"picture": picture, "histogram": histogram, "share": share}
    script = (HERE / "page.js").read_text("utf-8")
    template = environment.get_template("page.html.j2")
    return template.render(
        facts=facts,
        title=title,
        made=made,
        style=(HERE / "page.css").read_text("utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        benchmarks=[_embedded(path) for path in benchmarks],
        bins=bin_names(),
    )


def bin_names() -> list[str]:
    """What each bin of error / bound holds."""
    doubled = [f"from 2^-{BINS - 1 - place}" for place in range(2, BINS - 1)]
    return ["0", f"below 2^-{BINS - 3}", *doubled, "1 and more"]


def _embedded(path: Path) -> dict[str, str]:
    data = base64.b64encode(path.read_bytes()).decode()
    return {"name": path.stem, "url": f"data:{TYPES[path.suffix]};base64,{data}"}
