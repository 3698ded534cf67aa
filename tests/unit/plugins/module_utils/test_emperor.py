# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import time

import pytest
from ansible.module_utils.common.text.converters import to_native, to_text
from ansible_collections.uwsgi.emperor.plugins.module_utils import _emperor

JOURNAL = [
    '[uWSGI] getting INI configuration from a.ini',
    'failed to open python file /srv/nowhere.py',
    'unable to load app 0',
    '[uWSGI] getting INI configuration from a.ini',
    'clock source: unix',
]


def test_the_journal_tells_of_the_last_start_that_says_why():
    """The Emperor may have begun to start it again when the journal is read."""
    host = object.__new__(_emperor.Host)
    host.unit = 'uwsgi.service'
    host.emperor = None
    host.run_command = lambda argv: (0, '\n'.join(JOURNAL), '')
    host.log_lines = lambda filename, offset=0: ('/var/log/uwsgi/a.log', [])
    assert host.story('a.ini', 0) == ('journalctl -u uwsgi.service', JOURNAL[:3], 'unable to load app 0')


def teller(tmp_path, lines, age):
    """A host with a log of so many seconds, and nothing in the journal."""
    log = tmp_path / 'a.log'
    log.write_bytes(''.join(line + '\n' for line in lines).encode('utf-8'))
    os.utime(str(log), (time.time() - age,) * 2)
    result = object.__new__(_emperor.Host)
    result.unit = 'uwsgi.service'
    result.emperor = os.getpid()
    result.run_command = lambda argv: (0, '', '')
    result.log_path = lambda filename: str(log)
    return result


def test_of_an_older_failure_only_what_is_dying_already_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(_emperor, 'age', lambda pid: 100000)
    lines = ['*** Starting uWSGI 2.0.28 (64bit) on [%s] ***' % time.ctime(time.time() - 10), 'RuntimeError: old']
    host, size = teller(tmp_path, lines, 8), len(lines[0]) + len(lines[1]) + 2
    now = time.time()
    assert host.story('a.ini', now, size)[1:] == ([], None)
    assert host.story('a.ini', now, size, dying=True)[2] == 'RuntimeError: old'
    # an older one still, before a start that went well; and one after which the Emperor would have started it again
    assert host.story('a.ini', now + 300, size, dying=True)[2] is None
    lines[:0] = ['*** Starting uWSGI 2.0.28 (64bit) on [%s] ***' % time.ctime(time.time() - 1000), 'RuntimeError: older']
    lines[-1] = 'all is well'
    assert teller(tmp_path, lines, 8).story('a.ini', now, sum(map(len, lines)) + len(lines), dying=True)[2] is None
    monkeypatch.setattr(_emperor, 'age', lambda pid: 5)
    assert host.story('a.ini', now, size, dying=True)[2] is None


def test_without_an_offset_what_was_written_since_is_told(tmp_path):
    lines = ['*** Starting uWSGI 2.0.28 (64bit) on [%s] ***' % time.ctime(time.time() - age) for age in (100, 10)]
    lines.insert(1, 'RuntimeError: old')
    host = teller(tmp_path, lines, 0)
    assert host.story('a.ini', time.time() - 200, None)[2] == 'RuntimeError: old'
    assert host.story('a.ini', time.time() - 50, None)[1:] == (lines[2:], None)
    # the new start has not opened its log
    assert host.story('a.ini', time.time() + 50, None)[1:] == ([], None)


def test_what_the_journal_says_is_shown_as_data(tmp_path):
    host = teller(tmp_path, [], 0)
    said = JOURNAL[0] + '\nRuntimeError: \x1b[31m' + to_native(b'\xff', errors='surrogate_or_replace') + '\rx\n'
    host.run_command = lambda argv: (0, said, '')
    assert host.story('a.ini', time.time())[2] == 'RuntimeError: \\x1b[31m\\xff\\x0dx'


def test_commands_that_run_at_once_are_told_apart(tmp_path):
    commands = [(['sh', '-c', 'pwd; echo %d >&2; exit %d' % (number, number)], str(tmp_path)) for number in range(9)]
    assert _emperor.run_all(commands) == [(number, '%s\n' % tmp_path, '%d\n' % number) for number in range(9)]


def test_a_command_that_says_more_than_a_pipe_holds_ends(tmp_path):
    talkative = ['sh', '-c', 'head -c 300000 /dev/zero | tr "\\0" x; echo end >&2']
    assert [len(out) for dummy, out, dummy in _emperor.run_all([(talkative, '/')] * 4)] == [300000] * 4


@pytest.fixture
def host(tmp_path):
    """A host whose uWSGI notes each start and knows the options named in a vassal's file, but not `wrong`."""
    uwsgi = tmp_path / 'uwsgi'
    uwsgi.write_text(
        to_text(
            """#!/bin/sh
            echo "$@" >> %s/calls
            case " $* " in *" --strict "*) grep -q wrong "$3" && { echo "unknown config directive: wrong" >&2; exit 1; };; esac
            while [ $# -gt 0 ]; do
                if [ "$1" = --get ]; then
                    case $2 in uwsgi-vassal-mark) echo '%s';; logto) echo "$PWD";; esac
                    shift
                fi
                shift
            done
            """
            % (tmp_path, _emperor._MARK)
        )
    )
    uwsgi.chmod(0o755)
    result = object.__new__(_emperor.Host)
    result.binary = str(uwsgi)
    result.emperor = None
    result.defaults = '/nonexistent'
    result.available_dir = result.enabled_dir = str(tmp_path / 'available')
    (tmp_path / 'available').mkdir()
    result._readings = {}
    result.calls = lambda: len((tmp_path / 'calls').read_text().splitlines())
    return result


def test_what_was_read_ahead_is_not_read_again(host):
    for name in ('a.ini', 'b.ini'):
        host.write(name, b'[uwsgi]\n', 1)
    host.read([('a.ini', None), ('b.ini', None)])
    assert host.calls() == 2
    assert host.options('a.ini') == {'logto': host.available_dir}
    assert host.lint('b.ini') == []
    assert host.calls() == 2


def test_the_options_are_those_of_the_text_that_was_written(host):
    host.write('a.ini', b'[uwsgi]\n', 1)
    host.options('a.ini')
    assert host.lint('a.ini', b'[uwsgi]\nmaster = true\n') == []
    assert host.options('a.ini') == {'logto': host.available_dir}
    host.write('a.ini', b'[uwsgi]\nmaster = true\n', 2)
    assert host.options('a.ini') != {'logto': host.available_dir}
    assert host.calls() == 2
    host.write('a.ini', b'[uwsgi]\nworkers = 1\n', 3)
    assert host.options('a.ini') == {'logto': host.available_dir}
    assert host.calls() == 3


def test_of_many_texts_the_wrong_one_is_told(host):
    texts = [('%d.ini' % number, b'[uwsgi]\nwrong = 1\n' if number == 3 else b'[uwsgi]\n') for number in range(5)]
    host.read(texts)
    said = [host.lint(*one) for one in texts]
    assert said.pop(3) == ['wrong is no option of this uWSGI and its plugins']
    assert said == [[]] * 4
