# -*- coding: utf-8 -*-
# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import time

import pytest
from ansible.module_utils.common.text.converters import to_native
from ansible_collections.uwsgi.emperor.plugins.module_utils._log import (
    complaints,
    find_failed_hook,
    find_missing_application,
    find_reason,
    read_lines,
    recent,
    starts,
    last_failed_start,
)

UNABLE = "unable to load app 0 (mountpoint='') (callable not found or import error)"
OVER = '*** no app loaded. GAME OVER ***'
MODE = '*** Operational MODE: preforking ***'
GOING_ON = '*** no app loaded. going in full dynamic mode ***'
READY = "WSGI app 0 (mountpoint='%s') ready in 1 seconds on interpreter 0x5575a0 pid: %d (default app)"
PIDFILE = 'open("/run/daemon.pid"): No such file or directory [core/daemons.c line 161]'


@pytest.mark.parametrize(
    'lines, reason',
    [
        ([], None),
        (['all is well'], None),
        (
            ['Tue Nov 24 01:53:07 2026 - chdir() to /nosuch', 'Tue Nov 24 01:53:07 2026 - chdir(): No such file or directory [core/uwsgi.c line 2617]'],
            'chdir() to /nosuch: No such file or directory [core/uwsgi.c line 2617]',
        ),
        (['Tue Nov  4 01:52:04 2026 - user nosuch not found.'], 'user nosuch not found.'),
        (
            ['Traceback (most recent call last):', "ModuleNotFoundError: No module named 'x'", 'unable to load app 0', '*** no app loaded. GAME OVER ***'],
            "ModuleNotFoundError: No module named 'x'",
        ),
    ],
)
def test_a_log_tells_the_reason(lines, reason):
    assert find_reason(lines) == reason


STARTED = '*** Starting uWSGI 2.0.28-debian (64bit) on [%s] ***'
START = 'Tue Nov 24 01:53:07 2026 - ' + STARTED % 'Tue Nov 24 01:53:07 2026'


def test_a_log_is_taken_apart_by_starts():
    assert starts(['old', START, 'a', START, 'b']) == [['old'], [START, 'a'], [START, 'b']]
    assert starts(['a', 'b']) == [['a', 'b']]


def test_a_crash_loop_is_told_by_the_last_start_that_failed_already():
    failed = [START, 'user nosuch not found.']
    assert last_failed_start(['old'] + failed + [START, 'mapped 9 bytes']) == failed
    assert last_failed_start(failed + [START, 'all is well']) == failed
    assert last_failed_start(['old', START, 'all is well']) == [START, 'all is well']
    assert last_failed_start([]) == []


def missing(lines, has_application=True, mountpoints=('',)):
    return find_missing_application(lines, [70, 71, 72], has_application, mountpoints)


def test_an_open_socket_without_an_application_is_seen():
    assert missing([START, MODE, 'ImportError: x', UNABLE]) == UNABLE
    assert missing([START, MODE, GOING_ON]) == GOING_ON
    assert missing([START, MODE, UNABLE, GOING_ON]) == UNABLE
    assert not missing([START, MODE, GOING_ON], has_application=False)
    assert not missing([START, MODE, READY % ('', 70)])
    # another process has loaded it
    assert missing([START, MODE, READY % ('', 69), UNABLE]) == UNABLE
    # one worker may lack it for a moment
    assert not missing([UNABLE, READY % ('', 72)])
    other = UNABLE.replace("''", "'/b'")
    assert missing([READY % ('/a', 71), other], mountpoints=['/a', '/b']) == other


FATAL = 'FATAL hook failed, destroying instance'
FALSE = 'command "/bin/false" exited with non-zero code: 1'
SPAWNED = 'spawned uWSGI master process (pid: 70)'


@pytest.mark.parametrize('stamp', ['', 'Tue Nov 24 01:53:07 2026 - '])
def test_a_hook_that_has_failed_before_the_workers_were_made_is_seen(stamp):
    start = [stamp + line for line in (START, MODE, 'running "exec:/bin/false" (pre app)...', FALSE, FATAL, READY % ('', 70), SPAWNED)]
    good = [stamp + line for line in (START, MODE, READY % ('', 70), SPAWNED)]
    assert find_failed_hook(['before'] + start + ['after']) == FALSE
    assert find_reason(start[:5]) == FALSE
    # what a request can write: starts of its own, before the start and after
    for forged in start, start[3:5], start[:-1], [stamp + SPAWNED] + start:
        assert find_failed_hook(forged + good + forged) is None
        assert find_failed_hook(forged + start + forged) == FALSE
    # nor are workers taken for it, which end their master
    assert find_failed_hook(good + [stamp + FALSE, stamp + FATAL]) is None
    assert find_failed_hook([]) is find_failed_hook(good[1:]) is None


LOADED = ['RACK app 0 loaded in 0 seconds at 0x55 (GC frequency: AGGRESSIVE)', 'PSGI app 0 (/srv/a (b).psgi) loaded in 0 seconds at 0x55 (interpreter 0x7)']


@pytest.mark.parametrize('real', [READY % ('', 70)] + LOADED)
@pytest.mark.parametrize('stamp', ['', 'Tue Nov 24 01:53:07 2026 - ', '2026-11-24 - '])
def test_whoever_sends_a_request_can_not_say_that_the_application_is_missing(stamp, real):
    """The line may be in the log before the start, from the previous workers, and after; and beside it all that uWSGI says of a start."""
    mountpoints = ['']
    for line in UNABLE, UNABLE.replace("''", "'/zz'"), GOING_ON, 'Not Found: /x - ' + UNABLE:
        forged = [START, MODE, stamp + line, 'spawned uWSGI master process (pid: 70)']
        assert not missing(forged + [START, MODE, stamp + real] + forged, mountpoints=mountpoints)
        # as a log-encoder has it
        assert not missing(['{"time": "%s", "message": "%s - %s"}' % ('x' * 60, word, text) for word, text in (('', real), ('Not Found', line))])


@pytest.mark.parametrize(
    'lines, reason',
    [
        # what the application wrote before it failed
        (['unknown config directive: FAKE', 'RuntimeError: real', UNABLE, OVER], 'RuntimeError: real'),
        (['user root not found.', 'ValueError: first', 'KeyError.Error: second', UNABLE], 'KeyError.Error: second'),
        (['ValueError: logged, and gone on', 'bind(): Address already in use'], 'bind(): Address already in use'),
        # what its end wrote
        (['RuntimeError: real', UNABLE, OVER, 'unknown config directive: FAKE', 'AttributeError: late'], 'RuntimeError: real'),
        (['RuntimeError: real', 'Exception ignored in: <function f at 0x7f>'], 'RuntimeError: real'),
        # consequences, also with a stamp of another form
        (['RuntimeError: real', UNABLE], 'RuntimeError: real'),
        (['RuntimeError: real', '2026-11-24 - ' + UNABLE, '2026-11-24 - ' + OVER], 'RuntimeError: real'),
        (['syntax error at a.psgi line 3, near "="', 'unable to find PSGI function entry point.', OVER], 'syntax error at a.psgi line 3, near "="'),
        ([UNABLE], UNABLE),
        # what is harmless
        (['RuntimeError: real', UNABLE, PIDFILE], 'RuntimeError: real'),
        ([UNABLE, PIDFILE], UNABLE),
        ([PIDFILE], None),
        # what goes on with the line before
        (['ValidationError: 1 error', '  unable to parse it: invalid', UNABLE], 'ValidationError: 1 error'),
    ],
)
def test_the_last_cause_is_the_reason(lines, reason):
    assert find_reason(lines) == reason


@pytest.mark.parametrize(
    'line',
    [
        '*** Starting uWSGI',
        '*** Starting uWSGI 2.0.28 (64bit) on [now] ***',
        STARTED % 'Tue Nov 24 01:53:07 2026' + ' RuntimeError: x',
        '\\x1b' + STARTED % 'Tue Nov 24 01:53:07 2026',
        'echo: ' + STARTED % 'Tue Nov 24 01:53:07 2026',
    ],
)
def test_a_line_that_is_none_of_uwsgis_starts_nothing(line):
    lines = [START, 'RuntimeError: real', line, UNABLE, OVER]
    assert starts(lines) == [[], lines]
    assert last_failed_start(lines) == lines


@pytest.mark.parametrize('stamp', ['', '2026-11-24 01:53:07 - ', 'Tue Nov  3 01:53:07 2026 - '])
def test_each_start_of_uwsgi_is_seen(stamp):
    lines = ['old', stamp + STARTED % 'Tue Nov  3 01:53:07 2026', stamp + 'compiled with version: 14']
    assert starts(lines) == [['old'], lines[1:]]


def test_a_forged_start_does_not_hide_why_the_real_one_failed():
    real = [START, MODE, 'RuntimeError: real', UNABLE, OVER]
    assert last_failed_start(real + [START]) == real
    for end in [UNABLE, OVER], [OVER], ['invalid']:
        assert find_reason(last_failed_start(real[:3] + [START] + end)) == 'RuntimeError: real'
    # a real one that says so little is told, after another, too
    again = [START, MODE, UNABLE, OVER]
    assert last_failed_start(real + again) == again
    assert last_failed_start([START, UNABLE]) == [START, UNABLE]


def test_starts_have_dates():
    older, newer = [STARTED % 'Tue Nov 24 01:53:07 2026', 'a'], [STARTED % 'Tue Nov 24 01:53:09 2026', 'b']
    noon = time.mktime((2026, 11, 24, 1, 53, 9, 0, 0, -1))
    assert recent(['x'] + older + newer, noon - 2) == older + newer
    assert recent(['x'] + older + newer, noon) == newer
    assert recent(['x'] + older + newer, noon + 1) == newer
    assert recent(['x'], noon) == ['x']
    assert recent([STARTED % 'Xyz Nov 24 01:53:09 2026', 'a'], noon) == [STARTED % 'Xyz Nov 24 01:53:09 2026', 'a']


PLUGIN = '!!! UNABLE to load uWSGI plugin: /usr/lib/uwsgi/plugins/%s_plugin.so: cannot open shared object file: No such file or directory !!!'


@pytest.mark.parametrize(
    'code, said, text, found',
    [
        (0, '[uWSGI] getting INI configuration from a.ini', None, []),
        (0, PLUGIN % 'uwsgi_python3', None, ['there is no plugin uwsgi_python3; the Emperor wants its name without the prefix: python3']),
        (0, PLUGIN % 'nosuch', None, ['there is no plugin nosuch (/usr/lib/uwsgi/plugins/nosuch_plugin.so); install its package']),
        (0, '*** WARNING: Can\'t find section "uwsgi" in INI configuration file c.ini ***', None, ['it has no section [uwsgi]']),
        (1, '[strict-mode] unknown config directive: wsgi-fil', 'wsgi-fil = x', ['wsgi-fil is no option of this uWSGI and its plugins']),
        (1, '[strict-mode] unknown config directive: foo', 'foo = 1\nenv = A=%(foo)', []),
        (1, "error parsing JSON data: string or '}' expected", None, ["error parsing JSON data: string or '}' expected"]),
        (
            1,
            'error parsing JSON data: parse error: premature EOF\n     {"a"\n    (right here) ------^\n',
            None,
            ['error parsing JSON data: parse error: premature EOF'],
        ),
        (
            1,
            'a.xml:1: parser error : Opening and ending tag mismatch: a line 1 and b\n<a></b>\n   ^\na.xml:1: parser error : Premature end of data\n'
            '[uWSGI] could not parse file a.xml.',
            None,
            ['a.xml:1: parser error : Opening and ending tag mismatch: a line 1 and b'],
        ),
        (0, 'unsupported YAML token 21 in uwsgi block', None, ['uWSGI understands only a part of its YAML: unsupported YAML token 21 in uwsgi block']),
        (
            1,
            "uwsgi: unrecognized option '--xml'\ngetopt_long() error",
            None,
            ["this uWSGI was built without xml files: uwsgi: unrecognized option '--xml'"],
        ),
    ],
)
def test_what_uwsgi_says_of_a_configuration_becomes_a_sentence(code, said, text, found):
    assert complaints(code, said, text) == found


def test_what_uwsgi_says_of_a_configuration_is_shown_as_data():
    said = '[strict-mode] unknown config directive: a\x1b[31mb\x85c\rd\ne'
    assert complaints(1, said, '') == ['a\\x1b[31mb\\x85c\\x0dd is no option of this uWSGI and its plugins']


@pytest.fixture
def log(tmp_path):
    path = tmp_path / 'a.log'

    def write(data):
        path.write_bytes(data)
        return str(path)

    return write


def test_a_log_is_read_as_lines_of_data(log):
    data = u'Gr\xfc\xdfe\tan alle\n\x1b]0;OWNED\x07\x1b[31m\n\n  \none\rline\x0bof\x85all\u2028\u202eit\n'.encode('utf-8') + b'\xff\xfe\n'
    assert read_lines(log(data)) == [
        to_native(u'Gr\xfc\xdfe\tan alle'),
        '\\x1b]0;OWNED\\x07\\x1b[31m',
        'one\\x0dline\\x0bof\\x85all\\u2028\\u202eit',
        '\\xff\\xfe',
    ]


def test_a_log_is_read_from_where_it_ended(log):
    path = log(b'old\nnew\n')
    assert read_lines(path, 4) == ['new']
    assert read_lines(path, 8) == []
    assert read_lines(path, 9) == ['old', 'new'], 'it was rotated'
    assert read_lines(path + '.gone') == []


def test_of_a_long_log_the_last_whole_lines_are_read(log):
    line = b'x' * 99 + b'\n'
    assert read_lines(log(line * 1000)) == ['x' * 99] * 327
    assert read_lines(log(line * 1000), 100000 - 200) == ['x' * 99] * 2
    assert read_lines(log(b'x' * 99999)) == ['x' * 32768]
    assert read_lines(log(b'x' * 99999 + b'\n')) == ['x' * 32767]
    assert read_lines(log(line * 1000), 100, whole=True) == ['x' * 99] * 999
    assert read_lines(log(line * 10486), whole=True) == []
    assert len(read_lines(log(line * 10486), 100, whole=True)) == 10485


def test_what_is_no_log_is_not_read(log, tmp_path):
    path = log(b'secret\n')
    os.symlink(path, str(tmp_path / 'link'))
    os.mkfifo(str(tmp_path / 'fifo'))
    assert [read_lines(str(tmp_path / name)) for name in ('link', 'fifo', '.')] == [[], [], []]
