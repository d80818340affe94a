"Looks through the built pages: every link and anchor leads somewhere, and nothing is loaded from another host."

import re
import sys
from html import unescape
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

TAG = re.compile(r"<(a|area|link|script|img|iframe|source|video|audio|object|embed|use|image|form)\b([^>]*)>", re.I)
GOES = re.compile(r"""\s(href|src|srcset|data|poster|action|xlink:href)\s*=\s*("[^"]*"|'[^']*'|[^\s>]+)""", re.I)
ANCHORS = re.compile(r"""\s(?:id|name)\s*=\s*["']?([^"'\s>]+)""")
SCRIPTS = re.compile(r"<(script|style|template)\b([^>]*)>.*?</\1>", re.S | re.I)
COMMENTS = re.compile(r"<!--.*?-->", re.S)
FROM_STYLE = re.compile(r"""(?:@import\s+(?:url\()?|url\()\s*["']?((?:https?:)?//[^"')\s]+)""", re.I)
LINKED = (
    "canonical",
    "alternate",
    "author",
    "license",
    "next",
    "prev",
    "search",
    "index",
    "genindex",
    "edit-uri",
)  # relations that fetch nothing


class Found(NamedTuple):
    "What is wrong, sentence by sentence, and the addresses elsewhere that readers may follow."

    wrong: list[str]
    elsewhere: dict[str, list[str]]  # address -> pages


def without_scripts(html: str) -> str:
    "A page without the insides of its scripts and styles, which name no anchors."
    return SCRIPTS.sub(lambda found: f"<{found[1]}{found[2]}>", COMMENTS.sub("", html))


def check(folder: Path, partial: bool = False) -> Found:
    "Read every page below a folder; in a `partial` site, links to pages that were left out are forgiven."
    found = (path for path in sorted(folder.rglob("*.html")) if "_static" not in path.relative_to(folder).parts)
    pages = {path: without_scripts(path.read_text(encoding="utf-8")) for path in found}
    anchors = {path: set(map(unescape, ANCHORS.findall(text))) for path, text in pages.items()}
    wrong: dict[str, None] = {}
    elsewhere: dict[str, list[str]] = {}
    for path, text in pages.items():
        page = path.relative_to(folder).as_posix()
        for tag, inside in TAG.findall(text):
            rel = re.search(r"""\brel\s*=\s*["']?([^"'>]+)""", inside)
            for name, quoted in GOES.findall(inside):
                address = unescape(quoted.strip("\"'")).strip()
                parts = urlsplit(address)
                if parts.scheme in ("data", "mailto", "javascript", "blob") or not address:
                    continue
                if parts.scheme or parts.netloc:
                    loads = tag.lower() not in ("a", "area", "form") and not (rel and rel[1].split()[0] in LINKED)
                    if loads and name.lower() != "xmlns":
                        wrong[f"{page}: <{tag}> loads {address} from another host; keep a copy in docs/_static"] = None
                    else:
                        elsewhere.setdefault(address, []).append(page)
                    continue
                if partial and re.search(r"\.(ipynb|md)$", address):
                    continue
                if said := broken(folder, path, parts.path, parts.fragment, anchors):
                    wrong[f"{page}: {address} {said}"] = None
    for path in folder.rglob("*.css"):
        for address in FROM_STYLE.findall(path.read_text(encoding="utf-8", errors="replace")):
            wrong[f"{path.relative_to(folder).as_posix()}: the style loads {address} from another host"] = None
    return Found(list(wrong), elsewhere)


def broken(folder: Path, page: Path, address: str, fragment: str, anchors: dict[Path, set[str]]) -> str:
    "What is wrong with a link within the site; empty if it leads somewhere."
    at = "/" + page.relative_to(folder).as_posix()
    target = folder / unquote(urljoin(at, address)).lstrip("/") if address else page
    if target.is_dir():
        target = target / "index.html"
    if not target.is_file():
        return "leads to no file"
    if fragment and target in anchors and unquote(fragment) not in anchors[target] and fragment not in anchors[target]:
        return f"leads to a page without the anchor #{fragment}"
    return ""


def report(folder: Path, listing: Path | None = None, partial: bool = False) -> int:
    "Print what is wrong; how much that is. Addresses elsewhere are listed, not asked."
    found = check(folder, partial)
    if listing:
        listing.write_text(
            "".join(f"{address}\t{', '.join(sorted(set(pages))[:5])}\n" for address, pages in sorted(found.elsewhere.items())),
            encoding="utf-8",
        )
    for sentence in found.wrong:
        print(f"docs: {sentence}", file=sys.stderr)
    return len(found.wrong)


if __name__ == "__main__":
    sys.exit(1 if report(Path(sys.argv[1])) else 0)
