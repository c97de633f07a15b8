#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What came out of the tests of one or more builds, cases counted one by one where a test tells of them; for tests/run.sh.

The exit status is 0 if nothing has failed: no test, none that was to run and did not, no complaint of a sanitizer, and with CI=true no test that
was skipped, except for want of stores of the original where there are none.
"""
import argparse
import itertools
import json
import os
import pathlib
import re

TAP_LINE = re.compile(r"^(not )?ok\b[^#]*(# *skip\b *(.*))?", re.I)
TAP_SKIP_ALL = re.compile(r"^1\.\.0 *# *skip\b *(.*)", re.I)
SKIP_WITHOUT_FIXTURES = "no stores of the original"


def quoted(lines):
    """What a failed test said last, so that whoever has only the summary knows why."""
    return "".join(f"\n    | {line[:300]}" for line in lines[-30:])


def last_words(test):
    return quoted([line for line in (test.get("stderr") or test.get("stdout") or "").splitlines() if line.strip()])


class Count:
    def __init__(self):
        self.passed, self.failed, self.skipped = 0, [], []

    def add_cases(self, name, output):
        """The lines of TAP. False if it has none."""
        cases = 0
        lines = output.splitlines()
        for at, line in enumerate(lines):
            skip_all = TAP_SKIP_ALL.match(line)
            case = TAP_LINE.match(line)
            if skip_all:
                self.skipped.append(f"{name}: {skip_all[1]}")
            elif not case:
                continue
            elif case[1]:
                told = itertools.takewhile(lambda said: said.startswith("#"), lines[at + 1:])
                self.failed.append(f"{name}: {line}" + quoted(list(told)))
            elif case[2]:
                self.skipped.append(f"{name}: {line}")
            else:
                self.passed += 1
            cases += 1
        return cases > 0

    def add_test(self, build, test):
        name = f"{build.name}: {test['name']}"
        result = test["result"]
        failed_before = len(self.failed)
        if not self.add_cases(name, test.get("stdout") or ""):
            if result == "OK":
                self.passed += 1
            elif result == "SKIP":
                self.skipped.append(f"{name}: {(test.get('stderr') or test.get('stdout') or '').strip()[-200:]}")
        if result not in ("OK", "SKIP"):
            if len(self.failed) == failed_before:
                self.failed.append(f"{name}: {result}, exit status {test.get('returncode')}")
            self.failed[-1] += last_words(test)

    def add_build(self, build):
        listed = sum(1 for _ in open(build / "tests.list"))
        log = build / "meson-logs" / "testlog.json"
        tests = [json.loads(line) for line in open(log)] if log.exists() else []
        for test in tests:
            self.add_test(build, test)
        if not listed:
            self.failed.append(f"{build.name}: there is no test to run")
        self.failed += [f"{build.name}: a test was not run"] * (listed - len(tests))

    def add_complaints(self, directory):
        for path in sorted(directory.iterdir()):
            text = path.read_text(errors="replace")
            # That there is no llvm-symbolizer is no complaint about the program.
            if not any(line.strip() and "external symbolizer" not in line for line in text.splitlines()):
                continue
            print(f"---- {path.name}\n{text[:8000]}\n")
            first = next((line for line in text.splitlines() if "ERROR" in line or "WARNING" in line or "error" in line), "")
            self.failed.append(f"a sanitizer complained, build/{directory.name}/{path.name}: {first.strip()}")


def has_fixtures():
    beside = pathlib.Path(__file__).resolve().parents[2] / "shared" / "fixtures"
    return bool(os.environ.get("WALFS_FIXTURES")) or beside.exists()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--scripts", choices=["not-run", "0", "1"], default="not-run", help="how the check of scripts ended")
    parser.add_argument("--failed-build", action="append", default=[], help="one that could not be made")
    parser.add_argument("--complaints", type=pathlib.Path, required=True)
    parser.add_argument("builds", type=pathlib.Path, nargs="*")
    args = parser.parse_args()

    count = Count()
    for build in args.builds:
        count.add_build(build)
    count.failed += [f"build/{name} could not be made" for name in args.failed_build]
    count.add_complaints(args.complaints)
    if args.scripts == "0":
        count.passed += 1
    elif args.scripts == "1":
        count.failed.append("shellcheck complained")

    for line in count.skipped:
        print("SKIPPED", line)
    for line in count.failed:
        print("FAILED", line)
    unwanted = []
    if os.environ.get("CI") == "true":
        unwanted = [line for line in count.skipped if has_fixtures() or SKIP_WITHOUT_FIXTURES not in line]
        for line in unwanted:
            print("NOT RUN, and CI=true wants all tests run:", line)
    print(f"{count.passed} passed, {len(count.failed)} failed, {len(count.skipped)} skipped")
    return 1 if count.failed or unwanted else 0


raise SystemExit(main())
