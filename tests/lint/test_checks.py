"""Shows that the checks of this folder find what they are for, and nothing else."""

import pathlib
import tempfile
import unittest

import check_includes
import check_names
import check_source
import sources

GOOD = "/* sync/a.c: adds. */\n"


class Includes(unittest.TestCase):
    CASES = [
        ("sync/a.c", '#include "common/base/lp_err.h"', None),
        ("sync/a.c", '#include "sync/a.h"', None),
        ("sync/a.c", '#include "common/loop/loop.h"', "may not include common/loop"),
        ("sync/a.c", '#include "lp_err.h"', "from the root"),
        ("sync/a.c", "#include <sys/socket.h>", "pure"),
        ("sync/a.c", "#include <string.h>", None),
        ("common/base/a.c", '#include "sync/a.h"', "may not include sync"),
        ("watcher/a.c", '#include "fsmount/fsmount.h"', "may not include fsmount"),
        ("link/a.c", '# include "wire/msg.h"', None),
        ("link/a.c", "#include <libwebsockets.h>", "only common/loop"),
        ("common/loop/a.c", "#include <libwebsockets.h>", None),
        ("watcher/a.c", "#include <fuse3/fuse_lowlevel.h>", "only fsmount"),
        ("cli/a.c", "#include <yaml.h>", "only common/conf"),
        ("cfapi/a.c", '#include "proxy/proxy.h"', "only cfapi/local"),
        ("cfapi/local/a.c", '#include "proxy/proxy.h"', None),
        ("tests/unit/sync/a.c", '#include "rig.h"', None),
        ("attic/a.c", "", "not in the table"),
    ]

    def test_cases(self):
        for path, text, want in self.CASES:
            with self.subTest(path=path, text=text):
                found = " ".join(check_includes.findings_in(pathlib.Path(path), text))
                self.assertEqual(found, "") if want is None else self.assertIn(want, found)


class Source(unittest.TestCase):
    CASES = [
        ("sync/a.c", GOOD, None),
        ("sync/a.c", "int a;\n", "opens without"),
        ("sync/a.c", GOOD + "int f(void) { return atoi(x); }\n", "a.c:2: atoi is banned"),
        ("sync/a.c", GOOD + "/* not strcpy(x), \"quoted */\nconst char *s = \"gets(x)\";\n", None),
        ("sync/a.c", GOOD + "lp_child_signal(c, 9); x.system(); y->signal(1);\n", None),
        ("sync/a.c", GOOD + "printf(text);\n", "own rooms"),
        ("cli/a.c", "/* a.c: talks. */\nprintf(text);\n", None),
        ("sync/a.c", GOOD + "\n" * 500, "501 lines"),
        ("sync/a.c", GOOD + "/* TO" + "DO */\n", "unfinished"),
        ("sync/a.h", "/* a.h: adds. */\n#ifndef LP_SYNC_A_H\n#define LP_SYNC_A_H\n", None),
        ("sync/a.h", "/* a.h: adds. */\n#ifndef LP_A_H\n#define LP_A_H\n", "LP_SYNC_A_H"),
    ]

    def test_cases(self):
        for path, text, want in self.CASES:
            with self.subTest(path=path, text=text[:60]):
                found = " ".join(check_source.findings_in(pathlib.Path(path), text))
                self.assertEqual(found, "") if want is None else self.assertIn(want, found)


class Names(unittest.TestCase):
    CASES = [
        ("a.md", "see `sync/there.h` and [it](sync/there.h#top)", None),
        ("a.md", "see `sync/*.h`, `sync/`, `app.py` and [web](https://example.org/x)", None),
        ("a.md", "see\n`sync/gone.h`", "a.md:2: there is no sync/gone.h"),
        ("a.md", "see [it](gone.md)", "no gone.md"),
        ("docs/a.md", "see [it](../sync/there.h)", None),
        ("sync/b.c", "/* as in sync/there.h */", None),
        ("sync/b.c", "int a; /* as in sync/gone.h */", "no sync/gone.h"),
        ("sync/b.c", 'const char *a = "sync/gone.h";', None),
    ]

    def test_cases(self):
        for path, text, want in self.CASES:
            with self.subTest(path=path, text=text), tempfile.TemporaryDirectory() as folder:
                root = pathlib.Path(folder)
                for name, content in (("sync/there.h", ""), (path, text)):
                    (root / name).parent.mkdir(exist_ok=True)
                    (root / name).write_text(content)
                found = " ".join(check_names.check(root))
                self.assertEqual(found, "") if want is None else self.assertIn(want, found)


class Files(unittest.TestCase):
    def test_build_folders_are_left_out(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name in ("sync/a.c", "build-x/b.c", ".git/c.c", "sync/a.py"):
                (root / name).parent.mkdir(exist_ok=True)
                (root / name).touch()
            self.assertEqual([str(p) for p in sources.files(root, ".c")], ["sync/a.c"])


if __name__ == "__main__":
    unittest.main()
