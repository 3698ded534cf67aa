# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which of the files of module_utils may import which, and which of them may open files and sockets and start processes."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import ast
import os

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils import _vassal

DIRECTORY = os.path.dirname(_vassal.__file__)
PACKAGE = 'ansible_collections.uwsgi.emperor.plugins.module_utils'
# The ground floor first: a file imports only what stands above it here.
LAYERS = [
    '_text', '_vassal', '_acceptance', '_agreement', '_access', '_scan', '_commands', '_migration', '_environment', '_log', '_sockets', '_processes',
    '_alterable', '_files', '_exposure', '_configuration', '_wanted', '_supervisor', '_emperor', '_systemd', '_daemons', '_host', '_describe',
    '_host_info', '_job', '_execute', '_units', '_watcher', '_hand_over', '_unit_verbs',
]  # fmt: skip
# In lines.
LONG = 300
OPENING = ['_log', '_sockets', '_processes', '_files', '_configuration']


def tree(name):
    with open('%s/%s.py' % (DIRECTORY, name)) as handle:
        return ast.parse(handle.read())


def imported(name):
    """What a file imports of its own directory."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            for one in node.names:
                yield one.name
        elif isinstance(node, ast.ImportFrom) and (node.module or '').startswith(PACKAGE + '.'):
            yield node.module[len(PACKAGE) + 1 :]


def opens(name):
    """The calls in a file by which a file or socket is opened, or a process started."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id == 'open':
                yield 'open'
            elif isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
                whole = '%s.%s' % (called.value.id, called.attr)
                if whole in ('os.open', 'os.popen', 'os.system', 'io.open', 'socket.socket') or called.value.id == 'subprocess':
                    yield whole


@pytest.mark.parametrize('name', LAYERS)
def test_a_long_file_says_why_in_its_first_lines(name):
    with open('%s/%s.py' % (DIRECTORY, name)) as handle:
        lines = len(handle.readlines())
    assert lines <= LONG or 'A long file' in ast.get_docstring(tree(name)), lines


def test_all_files_have_their_place():
    files = [entry[: -len('.py')] for entry in os.listdir(DIRECTORY) if entry.startswith('_') and entry.endswith('.py') and not entry.startswith('__')]
    assert sorted(files) == sorted(LAYERS)


@pytest.mark.parametrize('name', LAYERS)
def test_a_file_imports_only_what_is_below_it(name):
    assert set(imported(name)) <= set(LAYERS[: LAYERS.index(name)])


@pytest.mark.parametrize('name', LAYERS)
def test_few_files_open_anything(name):
    assert bool(set(opens(name))) is (name in OPENING), set(opens(name))
