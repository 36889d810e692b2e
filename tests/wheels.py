"""Wheels with a small model inside."""

import base64
import hashlib
import zipfile

GGUF = "tiny_llm/m.gguf"


def write_wheel(
    folder, files, version="1.0", name="tiny_llm", method=zipfile.ZIP_DEFLATED, **damage
):
    """A wheel with a RECORD; ``damage`` gives hashes of other contents than the files'.

    Its member "lines" gives more lines of the metadata.
    """
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    lines = "".join(f"{line}\n" for line in damage.get("lines", ()))
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{lines}".encode()
    tags = b"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = {**files, f"{info}/METADATA": metadata, f"{info}/WHEEL": tags}
    record = ""
    for entry, data in files.items():
        digest = hashlib.sha256(damage.get("record", {}).get(entry, data)).digest()
        text = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        record += f"{entry},sha256={text},{len(data)}\n"
    with zipfile.ZipFile(path, "w", method) as archive:
        for entry, data in files.items():
            archive.writestr(entry, data)
        archive.writestr(f"{info}/RECORD", damage.get("text", record + f"{info}/RECORD,,\n"))
    return path


def files_below(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
