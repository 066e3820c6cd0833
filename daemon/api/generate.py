"""`make api`: writes what is made of the API's types into `docs/`. Needs the extra `dev`, for PyYAML."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cnnbo.daemon.api.asyncapi import document
from cnnbo.daemon.api.schemas import published
from cnnbo.daemon.api.tables import with_tables

SCHEMAS = "schemas"
PAGE = "mqtt.md"


def made_files(docs: Path) -> Mapping[str, str]:
    """The text of every file that is made, by its path below `docs`, where the page is whose tables are filled."""
    files = {
        f"{SCHEMAS}/{name}": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in published().items()
    }
    files["asyncapi.yaml"] = "# Made by `make api`.\n" + yaml.dump(
        document(), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True
    )
    files[PAGE] = with_tables((docs / PAGE).read_text())
    return files


class _Dumper(yaml.SafeDumper):
    """Writes what occurs twice out twice, instead of anchors that few people know."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def main(docs: Path = Path("docs")) -> None:
    """Write all files, and remove the schemas that are made no longer."""
    files = made_files(docs)
    (docs / SCHEMAS).mkdir(exist_ok=True)
    for path in (docs / SCHEMAS).glob("*.json"):
        if f"{SCHEMAS}/{path.name}" not in files:
            path.unlink()
    for name, text in files.items():
        (docs / name).write_text(text)


if __name__ == "__main__":
    main()
