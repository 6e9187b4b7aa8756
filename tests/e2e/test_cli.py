"""The command line by itself: help, version, init, doctor, and how misuse is answered."""

import json
import os
import re
import subprocess
import unittest

import livepush_e2e as e2e

COMMANDS = ("mount watch push flush hold release why verify restart history rollback status logs "
            "open init doctor version help").split()
MAX_COLUMNS = 100


class Help(e2e.Case):
    def assert_help(self, done):
        self.assertEqual(done.stderr, "")
        self.assertNotEqual(done.stdout, "")
        long = [line for line in done.stdout.splitlines() if len(line.expandtabs()) > MAX_COLUMNS]
        self.assertEqual(long, [])

    def test_help_lists_every_command(self):
        for arguments in (["help"], ["--help"], ["-h"], []):
            done = self.succeed(*arguments)
            self.assert_help(done)
            for command in COMMANDS:
                self.assertRegex(done.stdout, rf"(?m)^\s+{command}\b")

    def test_help_of_every_command(self):
        for command in COMMANDS:
            with self.subTest(command=command):
                done = self.succeed(command, "--help")
                self.assert_help(done)
                self.assertIn(f"livepush {command}", done.stdout)
                self.assertEqual(self.succeed("help", command).stdout, done.stdout)

    def test_help_of_the_controller(self):
        done = subprocess.run([e2e.CONTROLLER, "--help"], capture_output=True, text=True,
                              timeout=e2e.PATIENCE, env=self.env, check=True)
        self.assert_help(done)
        for option in ("--config", "--tree", "--listen", "--secret-file"):
            self.assertIn(option, done.stdout)

    def test_version(self):
        text = self.succeed("version").stdout
        self.assertRegex(text, r"\d+\.\d+\.\d+")
        self.assertEqual(self.succeed("--version").stdout, text)
        version = json.loads(self.succeed("version", "--json").stdout)
        self.assertIn(version["version"], text)
        done = subprocess.run([e2e.CONTROLLER, "--version"], capture_output=True, text=True,
                              timeout=e2e.PATIENCE, env=self.env, check=True)
        self.assertIn(version["version"], done.stdout)


class Misuse(e2e.Case):
    def test_an_unknown_command(self):
        done = self.refused("wacth", saying=["wacth", "help"], status=2)
        self.assertEqual(done.stdout, "")

    def test_the_command_that_was_meant(self):
        for wrong, meant in (("wacth", "watch"), ("psuh", "push"), ("restrat", "restart"),
                             ("log", "logs"), ("stat", "status"), ("xyzzy", None), ("", None)):
            with self.subTest(wrong=wrong):
                done = self.refused(wrong, saying=["no such command", "livepush help"], status=2)
                if meant:
                    self.assertIn(f"did you mean '{meant}'?", done.stderr)
                else:
                    self.assertNotIn("did you mean", done.stderr)
        self.refused("help", "wacth", saying=["did you mean 'watch'?"], status=2)

    def test_a_log_level_that_is_none(self):
        for command in (["version"], ["status", "--json"]):
            self.refused(*command, saying=["'loud'", "LIVEPUSH_LOG", "debug"], status=2,
                         env={"LIVEPUSH_LOG": "loud"})
        for level in ("trace", "error", ""):
            self.succeed("version", env={"LIVEPUSH_LOG": level})

    # Arguments with which a command fails where nothing runs, and the exit status.
    FAILURES = {
        "mount": (["nowhere", "app"], 1), "watch": (["nowhere", "app"], 1),
        "push": (["nowhere", "app"], 1), "flush": (["nobody"], 1), "hold": (["nobody"], 1),
        "release": (["nobody"], 1), "why": (["/nowhere/at/all"], 1), "verify": (["nobody"], 1),
        "restart": (["nobody"], 1), "history": (["nobody"], 1), "rollback": (["nobody"], 1),
        "status": (["nobody"], 1), "logs": (["nobody"], 1), "open": (["nobody"], 1),
        "init": (["nowhere"], 1), "doctor": (["nowhere"], 1), "version": (["x"], 2),
        "help": (["nothing"], 2),
    }

    def test_errors_in_json(self):
        """Whatever goes wrong: one object a line on stdout, the last of them the error."""
        self.assertEqual(set(self.FAILURES), set(COMMANDS))
        cases = [([command, "--json", *words], status)
                 for command, (words, status) in self.FAILURES.items()]
        cases += [([command, "--json", "--no-such-option"], 2) for command in COMMANDS]
        cases += [([command, "--no-such-option", "--json"], 2) for command in COMMANDS]
        cases += [(["wacth", "--json"], 2), (["flush", "--json"], 2),
                  (["flush", "--json", "app", "--timeout", "soon"], 2),
                  (["hold", "--json", "app", "--"], 2)]
        for arguments, status in cases:
            with self.subTest(arguments=arguments):
                done = self.refused(*arguments, status=status)
                objects = [json.loads(line) for line in done.stdout.splitlines()]
                self.assertTrue(all(isinstance(one, dict) for one in objects))
                self.assertEqual(objects[-1]["event"], "error", done.stdout)
                self.assertIn(objects[-1]["error"], done.stderr)

    def test_success_in_json(self):
        folder = self.example("hello")
        for arguments in (["version"], ["help"], ["help", "flush"], ["status"],
                          ["init", "--force", folder], ["doctor", folder]):
            with self.subTest(arguments=arguments):
                done = self.livepush(arguments[0], "--json", *arguments[1:])
                self.assertIn(done.returncode, (0, 1) if arguments[0] == "doctor" else (0,))
                for line in done.stdout.splitlines():
                    self.assertIsInstance(json.loads(line), dict)
        command = json.loads(self.succeed("help", "--json", "flush").stdout)
        self.assertEqual((command["command"], command["options"][0]["name"]), ("flush", "timeout"))

    def test_control_characters_do_not_come_back(self):
        done = self.refused("status", "a\x1b[2Jb\u009bc")
        self.assertNotIn("\x1b", done.stderr)
        self.assertNotIn("\u009b", done.stderr)

    def test_an_unknown_option(self):
        for command in COMMANDS:
            with self.subTest(command=command):
                done = self.refused(command, "--no-such-option", saying=["--no-such-option"],
                                    status=2)
                self.assertEqual(done.stdout, "")

    def test_too_few_and_too_many_arguments(self):
        for arguments in (["watch"], ["mount"], ["push"], ["flush"], ["restart"], ["logs"], ["hold"],
                          ["release"], ["why"], ["verify"], ["release", "a", "b"],
                          ["watch", "a", "b", "c"], ["flush", "a", "b"], ["version", "a"],
                          ["status", "a", "b"]):
            with self.subTest(arguments=arguments):
                self.refused(*arguments, status=2)

    def test_words_in_the_wrong_place(self):
        for command in ("push", "watch", "mount", "doctor", "why"):
            words = ["ws://h", "."] if command != "doctor" else ["ws://h"]
            self.refused(command, *words, saying=["ws://h is in the wrong place"], status=2)

    def test_values_that_are_none(self):
        for value in ("x", "-1", "99999999999999999999"):
            with self.subTest(value=value):
                self.refused("flush", "--timeout", value, "app", saying=["seconds"], status=2)
        for option in ("--timeout", "--secret-file", "--ca", "--pin"):
            for arguments in ([option, ""], [option + "="], [option]):
                self.refused("restart", "app", *arguments, saying=[option, "needs a value"],
                             status=2)

    def test_one_rule_for_what_cannot_be(self):
        """2 for what is wrong on the command line or in a variable, 1 for what is not there or
        stands wrong in a file; the same whatever the command."""
        folder = self.dir / "w"
        folder.mkdir()
        short = self.dir / "short"
        e2e.write(short, "short\n")
        short.chmod(0o600)
        url = "ws://127.0.0.1:1"
        apps = {"watch": [folder], "push": [folder], "mount": [folder]}
        for command in ("watch", "push", "mount", "restart", "history", "rollback", "status", "logs"):
            def refused(*options, status, saying, app=url, env=None):
                with self.subTest(command=command, options=options, app=app):
                    self.refused(command, *options, *apps.get(command, []), app, saying=saying,
                                 status=status, env=env)
            secret = {"LIVEPUSH_SECRET": e2e.SECRET}
            refused("--pin", "foo", status=2, saying=["'foo'", "pin", "sha256//"], env=secret)
            refused(status=2, saying=["LIVEPUSH_PIN"], env={**secret, "LIVEPUSH_PIN": "x"})
            refused("--ca", "x.pem", status=2, saying=["--ca", "wss://"], env=secret)
            refused(status=2, saying=["16 bytes", "LIVEPUSH_SECRET"],
                    env={"LIVEPUSH_SECRET": "short"})
            refused("--secret-file", short, status=2, saying=["16 bytes", str(short)])
            refused("--secret-file", self.dir / "none", status=1, saying=["none"])
            refused(status=1, saying=["no secret", "LIVEPUSH_SECRET"], env={"LIVEPUSH_SECRET": ""})

    def test_addresses_that_are_none(self):
        for app, says in (("ws://h:99999", "1 to 65535"), ("ws://h:0", "1 to 65535"),
                          ("ws://h:", "1 to 65535"), ("wss://h:8x/p", "1 to 65535"),
                          ("ws://", "URL"), ("ws://:80", "URL"), ("ws://[::1", "URL"),
                          ("ws://::1:80", "URL"), ("ws://h:1:2", "brackets"),
                          ("ws://u:p@h", "password"), ("ws://h/a b", "%XX"),
                          ("ftp://h", "URL"), ("", "empty"),
                          ("127.0.0.1:8085", "ws://127.0.0.1:8085"),
                          ("localhost:80", "ws://localhost:80"), ("[::1]:80", "ws://[::1]:80"),
                          ("https://h:1/x?y", "write wss://h:1"), ("http://h", "write ws://h")):
            for command, *words in (["status"], ["flush"], ["watch", self.dir], ["why", "x"],
                                    ["open"], ["hold"], ["doctor", self.dir]):
                with self.subTest(app=app, command=command):
                    done = self.refused(command, *words, app, saying=[says], status=2)
                    self.assertEqual(done.stdout, "")

    def test_values_of_variables_that_are_none(self):
        for command in ("flush", "restart", "rollback", "verify"):
            with self.subTest(command=command):
                self.refused(command, "app", saying=["seconds", "LIVEPUSH_TIMEOUT"], status=2,
                             env={"LIVEPUSH_TIMEOUT": "soon"})
        done = self.refused("logs", "app", saying=["LIVEPUSH_LINES"], status=2,
                            env={"LIVEPUSH_LINES": "x"})
        self.assertIn("number of lines", done.stderr)

    def test_a_link_that_is_never_good(self):
        self.refused("open", "--for", "0", "app", saying=["seconds"], status=2)

    def test_rates_that_are_none(self):
        for value in ("x", "-1", "10", "5G", "1e99", "0x1000"):
            with self.subTest(value=value):
                self.refused("push", f"--max-rate={value}", self.dir, "app", saying=["rate"],
                             status=2)
        for option in ("--sync-timeout=x", "--sync-timeout=-1"):
            self.refused("mount", option, self.dir, "app", saying=["seconds"], status=2)

    def test_the_controller(self):
        for arguments, word in ((["--no-such-option"], "--no-such-option"),
                                (["--listen", "nowhere"], "nowhere"), (["stray"], "stray"),
                                (["--tls-cert", "x"], "--tls-key")):
            with self.subTest(arguments=arguments):
                done = subprocess.run([e2e.CONTROLLER, *arguments], capture_output=True, text=True,
                                      timeout=e2e.PATIENCE, cwd=self.dir,
                                      env={**self.env, "LIVEPUSH_SECRET": e2e.SECRET}, check=False)
                self.assertEqual(done.returncode, 2)
                self.assertIn(word, done.stderr)
        for env, word in (({"PORT": "abc"}, "PORT"), ({"PORT": "70000"}, "70000"),
                          ({"LIVEPUSH_LISTEN": "x"}, "'x'"), ({"LIVEPUSH_SECRET": "x"}, "16 bytes"),
                          ({"LIVEPUSH_HOST": "http://x"}, "http://x"), ({}, "--listen")):
            with self.subTest(env=env):
                done = subprocess.run([e2e.CONTROLLER], capture_output=True, text=True,
                                      timeout=e2e.PATIENCE, cwd=self.dir,
                                      env={**self.env, "LIVEPUSH_SECRET": e2e.SECRET, **env},
                                      check=False)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(word, done.stderr)


class Init(e2e.Case):
    # files of a project → words that its livepush.yml has to hold
    PROJECTS = {
        "python with app.py": ({"app.py": "x"}, ["python3", "app.py"]),
        "python with requirements": ({"requirements.txt": "flask\n", "main.py": "x"},
                                     ["python3", "main.py"]),
        "node": ({"package.json": '{"scripts": {"start": "node server.js"}}', "server.js": ""},
                 ["np", "start"]),
        "node without scripts": ({"package.json": "{}", "index.js": ""}, ["node", "index.js"]),
        "ruby": ({"Gemfile": "", "config.ru": ""}, ["rackup"]),
        "go": ({"go.mod": "module x\n", "main.go": "package main\n"}, ["go "]),
        "php": ({"index.php": "<?php"}, ["php -S"]),
        "static": ({"index.html": "<p>"}, ["http.server"]),
        "node with app.js": ({"app.js": ""}, ["node", "app.js"]),
        "c": ({"Makefile": "server: server.c\n\tcc -o $@ $<\n", "server.c": ""},
              ["./server", "run: make"]),
        "procfile": ({"Procfile": "web: ./serve --port $PORT\nworker: ./work\n", "app.py": "x"},
                     ["./serve --port $PORT"]),
    }

    def test_every_kind_of_project(self):
        for name, (files, words) in self.PROJECTS.items():
            with self.subTest(project=name):
                folder = self.dir / re.sub(r"\W", "-", name)
                for path, content in files.items():
                    e2e.write(folder / path, content)
                self.succeed("init", cwd=folder)
                text = (folder / "livepush.yml").read_text()
                command = "\n".join(line for line in text.splitlines()
                                    if not line.lstrip().startswith("#"))
                for word in words:
                    self.assertIn(word, command)
                self.assertIn("#", text, "it is commented")
                # What it wrote is a config that the other commands take.
                done = self.livepush("doctor", cwd=folder)
                self.assertNotIn("livepush.yml:", done.stdout + done.stderr)

    def test_every_example_is_recognised(self):
        for name, word in (("hello", "app.py"), ("node", "app.js"), ("c", "./server"),
                           ("static", "http.server")):
            folder = self.example(name)
            done = json.loads(self.succeed("init", "--json", "--force", folder).stdout)
            self.assertNotEqual(done["kind"], "unknown", name)
            self.assertIn(word, done["command"])

    def test_it_overwrites_nothing(self):
        e2e.write(self.dir / "p/livepush.yml", "app: mine\n")
        self.refused("init", cwd=self.dir / "p", saying=["livepush.yml"])
        self.assertEqual((self.dir / "p/livepush.yml").read_text(), "app: mine\n")

    def test_what_it_writes_for_a_static_site_runs(self):
        folder = self.dir / "site"
        e2e.write(folder / "index.html", "served")
        self.succeed("init", cwd=folder)
        _, url = self.session("watch", folder, "site")
        self.assertEqual(e2e.body_of(url), "served")


class Doctor(e2e.Case):
    def test_every_line_is_ok_or_says_what_to_do(self):
        folder = self.example("hello")
        done = self.livepush("doctor", cwd=folder)
        self.assertIn(done.returncode, (0, 1))
        text = done.stdout.lower()
        for word in ("fuse", "inotify"):
            self.assertIn(word, text)
        self.assertIn("ok", text)

    def test_json(self):
        done = self.livepush("doctor", "--json", cwd=self.example("hello"))
        for line in done.stdout.splitlines():
            self.assertIsInstance(json.loads(line), dict)

    def test_it_finds_a_broken_config(self):
        folder = self.example("hello")
        e2e.write(folder / "livepush.yml", "comand: x\n")
        done = self.livepush("doctor", cwd=folder)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("livepush.yml:1", done.stdout + done.stderr)


class Status(e2e.Case):
    def test_without_a_session(self):
        done = self.succeed("status")
        self.assertNotEqual(done.stdout + done.stderr, "")
        for command in ("status", "flush", "hold", "release", "verify", "restart", "logs"):
            with self.subTest(command=command):
                self.refused(command, "nobody", saying=["nobody"])

    def test_output_for_people_goes_to_stdout_and_nothing_is_coloured_in_a_pipe(self):
        self.assertNotIn("\033", self.succeed("help").stdout)
        env = {"TERM": "xterm-256color"}
        self.assertNotIn("\033", self.succeed("status", env=env).stdout)

    def test_a_closed_pipe_is_no_crash(self):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run([e2e.LIVEPUSH, "help"], stdout=writing, stderr=subprocess.PIPE,
                              env=self.env, timeout=e2e.PATIENCE, check=False)
        os.close(writing)
        self.assertNotIn(b"Sanitizer", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
