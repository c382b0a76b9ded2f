"""What the documents say is checked against the program, so that they can't rot unseen."""

import re
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import server
from pbx import identity, metrics, settings
from recordings import manifest, verify

ROOT = Path(__file__).parent.parent
READMES = (ROOT / "README.md", ROOT / "README.zh-CN.md")
DOCUMENTS = (*READMES, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def anchors(document: str) -> set[str]:
    """Give the names headings are linked by, in the way of GitHub."""
    prose = re.sub(r"```.*?```", "", document, flags=re.DOTALL)
    headings = re.findall(r"^#{1,6} +(.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links() -> Iterator[tuple[Path, str]]:
    for path in DOCUMENTS:
        prose = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text("utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            if not re.match(r"https?:", target):
                yield path, target


def setting_keys() -> list[tuple[str, object]]:
    return [
        (f"{section}.{field.name}", () if field.default_factory is not msgspec.NODEFAULT else field.default)
        for section, kind in {**settings.SECTIONS, **settings.LISTS}.items()
        for field in msgspec.structs.fields(kind)
    ]


def row(document: str, key: str) -> str:
    """Give the line of a table that begins with `key`."""
    return next((line for line in text(document).splitlines() if line.startswith(f"| `{key}`")), "")


def test_every_document_is_found() -> None:
    assert {path.name for path in DOCUMENTS} >= {
        "README.md",
        "architecture.md",
        "operating.md",
        "evidence.md",
    }


@pytest.mark.parametrize(("document", "target"), [pytest.param(p, t, id=f"{p.name}:{t}") for p, t in links()])
def test_every_link_leads_somewhere(document: Path, target: str) -> None:
    file, _, anchor = target.partition("#")
    path = document.parent / file if file else document
    assert path.exists()
    if anchor:
        assert anchor in anchors(path.read_text("utf-8"))


def test_every_test_file_that_is_named_exists() -> None:
    named = {name for path in DOCUMENTS for name in re.findall(r"tests/[\w/]+\.py", path.read_text("utf-8"))}
    assert len(named) > 40
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize(("key", "default"), setting_keys())
def test_every_setting_is_described_with_its_default(key: str, default: object) -> None:
    cells = row("docs/operating.md", key).split("|")
    assert len(cells) == 5, "one row of three cells"
    shown = cells[2].strip()
    match default:
        case msgspec.NODEFAULT:
            assert shown == "needed"
        case None | () | "":  # an empty list or table
            assert shown == "none"
        case tuple():
            assert [value.strip("` ") for value in shown.split(",")] == list(default)
        case bool():
            assert shown == f"`{str(default).lower()}`"
        case _:
            assert shown == f"`{default}`"


def test_no_setting_is_described_that_does_not_exist() -> None:
    pattern = rf"^\| `((?:{'|'.join((*settings.SECTIONS, *settings.LISTS))})\.[a-z0-9_]+)` \|"
    described = re.findall(pattern, text("docs/operating.md"), re.MULTILINE)
    assert sorted(described) == sorted(key for key, _ in setting_keys())


def test_every_variable_of_the_environment_is_described() -> None:
    source = "".join((ROOT / "pbx" / name).read_text("utf-8") for name in ("settings.py", "settings_file.py"))
    variables = set(re.findall(r'"(AT110_[A-Z_]+)"', source))
    assert len(variables) >= 6
    assert [name for name in sorted(variables) if not row("docs/operating.md", name)] == []


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_every_command_is_in_both_readmes(readme: Path) -> None:
    commands = re.findall(r"^  ([a-z]+) ", server.USAGE, re.MULTILINE)
    assert {"serve", "call", "desk", "verify"} <= set(commands)
    said = readme.read_text("utf-8")
    assert [command for command in commands if f"| `at110 {command}" not in said] == []


def test_both_readmes_have_the_same_parts() -> None:
    shapes = [
        [
            *re.findall(r"^(#{1,6}) ", re.sub(r"```.*?```", "", said, flags=re.DOTALL), re.MULTILINE),
            *re.findall(r"^```(\w*)$", said, re.MULTILINE),
            str(len(re.findall(r"^\|", said, re.MULTILINE))),
        ]
        for said in (path.read_text("utf-8") for path in READMES)
    ]
    assert shapes[0] == shapes[1]


def test_the_table_of_rights_is_the_one_of_the_gate() -> None:
    rights = {
        (method, target): f"| {method} | {target} | "
        + " | ".join(
            "yes" if role in roles else "–" for role in ("anonymous", "caller", "dispatcher", "trunk")
        )
        + " |"
        for (method, target), roles in identity.RULES.items()
    }
    said = re.findall(
        r"^\| [A-Z]+ \| (?:own|emergency|feature|seat|room|phones|number|other) \|.*$",
        text("docs/security.md"),
        re.MULTILINE,
    )
    assert sorted(said) == sorted(rights.values())


def test_every_metric_is_described() -> None:
    names = {
        metric.name + ("_total" if metric.type == "counter" else "")
        for metric in metrics.Metrics().registry.collect()
    }
    said = set(re.findall(r"`(at110_[a-z_]+)`", text("docs/operating.md")))
    assert said == names


def test_every_field_of_the_manifest_and_every_problem_is_described(tmp_path: Path) -> None:
    (tmp_path / "call.pcapng").write_bytes(b"")
    made = manifest.seal_originals(tmp_path, "c", wall_ns=0)
    said = text("docs/evidence.md")
    assert [name for name in made if f"`{name}`" not in said] == []
    assert [what for what in typing.get_args(verify.What) if what not in said] == []


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads(text("pyproject.toml"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    said = text("docs/dependencies.md")
    names = [re.split(r"[<>=\[; ]", requirement)[0] for requirement in wanted]
    lines = [line.partition("|")[2].partition("|")[0] for line in said.splitlines() if line.startswith("|")]
    assert [name for name in names if not any(name in re.split(r"[ ,]+", line) for line in lines)] == []


def test_every_debian_package_of_the_tests_is_named() -> None:
    found = re.search(r"^DEBIAN_PACKAGES := (.+)$", text("Makefile"), re.MULTILINE)
    assert found is not None
    said = text("docs/dependencies.md")
    assert [package for package in found[1].split() if package not in said] == []
