"""A build that kills itself: ``python -m thematica.tests.trainer.dataset.killed FOLDER KIND WHERE NUMBER``.

WHERE is what it counts: ``save`` (of the journal, which is then written), ``write`` (to a file, half of which is then
written), ``rename`` (of a folder, before it).  With NUMBER 0 it lives.
"""

from __future__ import annotations

import os
import pathlib
import signal
import sys

from thematica.progress import Monitor
from thematica.trainer.dataset import build, survey, work, write
from thematica.trainer.dataset.build import BuildOptions, Length, build_dataset

from .scenes import fields_scene


def scenes():
    return [
        fields_scene(height=140, width=200, seed=1, bands=3),
        fields_scene(height=70, width=90, seed=2, bands=3),
    ]


def options(kind, **others):
    sizes = {"pixels": 0, "windows": 5, "chips": 16}
    return BuildOptions(kind=kind, size=sizes[kind], block=Length(24, "px"), **others)


def small_parts():
    """Many windows, shards, flushes and checkpoints, as a large set has them."""
    survey._WINDOW_BYTES = 3 * 2 * 64 * 64
    build._CHUNK_BYTES = 60_000
    write.SHARD_BYTES = 20_000
    write.BUFFER_BYTES = 7_000
    write.SECONDS_BETWEEN_CHECKPOINTS = survey._SECONDS_BETWEEN_CHECKPOINTS = 0.0


def end():
    os.kill(os.getpid(), signal.SIGKILL)


def main(folder, kind, where, number):
    small_parts()
    # A killed process leaves what it wrote to the system; only a machine that goes down would not.
    os.fsync = lambda descriptor: None
    count = 0

    def counted():
        nonlocal count
        count += 1
        return count == number

    save, write_all, rename = work.Work.save, write._write_all, pathlib.Path.rename

    def save_and_die(self):
        save(self)
        if where == "save" and counted():
            end()

    def write_half_and_die(descriptor, content):
        if where == "write" and counted():
            write_all(descriptor, bytes(content)[: len(content) // 2])
            end()
        write_all(descriptor, content)

    def die_before_rename(self, target):
        if where == "rename" and counted():
            end()
        return rename(self, target)

    work.Work.save, write._write_all, pathlib.Path.rename = save_and_die, write_half_and_die, die_before_rename
    build_dataset(folder, scenes(), options(kind), Monitor())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
