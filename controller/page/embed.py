"""Writes the files of the instance's page into a C source: embed.py OUT.c FILE..."""

import pathlib
import sys

TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".js": "text/javascript; charset=utf-8"}


def main(out, *files):
    rows, parts = [], []
    for i, file in enumerate(map(pathlib.Path, files)):
        data = file.read_bytes()
        lines = [", ".join(f"0x{byte:02x}" for byte in data[at:at + 16])
                 for at in range(0, len(data), 16)]
        parts.append(f"static const unsigned char file_{i}[] = {{\n\t" + ",\n\t".join(lines)
                     + "};\n")
        rows.append(f'\t{{"{file.name}", "{TYPES[file.suffix]}", file_{i}, sizeof(file_{i})}},\n')
    pathlib.Path(out).write_text(
        "/* Made by controller/page/embed.py. */\n#include \"controller/page_internal.h\"\n\n"
        + "\n".join(parts) + "\nconst struct lp_page_file lp_page_files[] = {\n" + "".join(rows)
        + "\t{0},\n};\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
