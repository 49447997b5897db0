"""Write the files that are made from the settings tree: python tools/generate_settings.py."""

from pathlib import Path

from sightline.settings.render import generated

ROOT = Path(__file__).resolve().parents[1]

for name, text in generated().items():
    path = ROOT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
    print(path.relative_to(ROOT))
