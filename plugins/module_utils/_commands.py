# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What an option by which uWSGI runs or changes something as root comes to: the files that it names, and where it is run. Pure.

Nothing here reads a shell's language. Each word of a command may be a file's name; where it is run others must not make files, as programs look there
for files that no word names; and what variables and home directories stand for is nobody's guess.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import re

from ansible_collections.uwsgi.emperor.plugins.module_utils._scan import UNKNOWN

_PATH = re.compile(r'(?:(?<![\w.)/-])|(?<=\s-\w))/[^\s;|&<>,()\'"]+')
_WORD = re.compile(r'[^\s;|&()<>\'"=,:{}]+')
# What stands for the program or a directory, what others may say, and homes.
_UNTOLD = re.compile(r'(^|:)[%%$@]\(|[%%$@]\([^()]*\)/|%%\(_\)|(^|[\s=:])~|%s' % UNKNOWN)
# Of a command: what variables, homes and patterns stand for.
_UNTOLD_COMMAND = re.compile(r'[$`~*?%s]|\S\[|\[\S|[%%@]\(' % UNKNOWN)
# How a command says where it is to be run, and how it leaves that directory.
_MOVES = re.compile(r'\s*cd\s+(/[^\s;|&<>()\'"$`*?~]*)\s*&&(.*)', re.DOTALL)
_LEAVES = re.compile(r'\b(cd|pushd|popd)\b')
# A command without the environment of the application: its PATH, HOME or LD_PRELOAD may lead to what the application's user writes.
_CLEAN = re.compile(r'\s*(/usr)?(/bin/)?env -i\b')
# Hooks that are given a command, and those whose first word is the path of a file, or also the second one (core/hooks.c).
_RUN = ('exec', 'safeexec')
_FILE = ('append', 'appendn', 'chmod', 'chown', 'chown2', 'creat', 'create', 'mkdir', 'mkfifo', 'rmdir', 'spinningfifo', 'sticky', 'unlink', 'write',
         'writefifo', 'writen')  # fmt: skip
_FILES = ('hardlink', 'rename', 'retryrename', 'symlink')
# Options that are a path.
_PROGRAMS = ('binsh', 'fallback-config', 'privileged-binary-patch', 'privileged-binary-patch-arg')


class Command(object):
    """One option of that kind.

    option, value: as in the configuration. directory: where uWSGI is when it comes to that.
    """

    def __init__(self, option, value, directory):
        self.option = option
        self.text = value
        self.directory = directory
        # whether a shell is given it, it works on files by their paths, or it leads elsewhere
        self.runs = option.startswith('exec-') or 'pipe:' in value
        self.by_path = option.startswith(('mount-', 'umount-'))
        self.moves = False
        self.variable = None  # what it puts into the environment
        self._files = []
        if self.runs:
            self.text = value.partition('pipe:')[2] if 'pipe:' in value and not option.startswith('exec-') else value
        elif option.startswith('hook-'):
            kind, dummy, rest = value.partition(':')
            self.runs = kind in _RUN
            self.by_path = not self.runs
            self.moves = kind in ('cd', 'chdir')
            self.variable = rest if kind == 'putenv' else None
            self._files = rest.split()[: 1 if kind in _FILE else 2 if kind in _FILES else 0]
            self.text = rest if self.runs else value
        elif option in _PROGRAMS:
            self._files = value.split()[:1]
        moved = _MOVES.match(self.text) if self.runs else None
        if moved:
            self.directory, self.text = moved.groups()

    @property
    def untold(self):
        """Whether it can not be told what it comes to."""
        if self.runs:
            return bool(_UNTOLD_COMMAND.search(self.text) or _LEAVES.search(self.text))
        return self.moves or bool(_UNTOLD.search(self.text))

    @property
    def clean(self):
        """Whether it has nothing of the application's environment."""
        return bool(_CLEAN.match(self.text))

    def paths(self, absolute=False):
        """The paths of what may be files; `absolute`: of those that are named by their whole path."""
        words = list(self._files)
        for word in _WORD.findall(self.text) if self.runs else []:
            # the value of an option of one letter may be a part of the word
            words += [word, word[2:]] if word.startswith('-') else [word]
        found = _PATH.findall(' ' + self.text)
        found += [os.path.join(self.directory, word) for word in words if word and not absolute and not word.startswith('/')]
        return sorted(set(found), key=found.index)

    def led_to(self, variable):
        """The paths of what a variable, NAME=VALUE, may lead it to."""
        setting = variable.partition('=')[2]
        return _PATH.findall(' ' + setting.replace(':', ' ')) + [os.path.join(self.directory, part) for part in setting.split(':') if not part.startswith('/')]
