# -*- coding: utf-8 -*-
# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import time

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import (
    Situation,
    VassalError,
    check_content,
    check_name,
    expand,
    ini_lines,
    lacks_mapping,
    make_plan,
    reload_serves,
    render,
    split_extension,
)

TEXT = b'[uwsgi]\nworkers = 2\n'
ABSENT = dict()
AVAILABLE = dict(text=TEXT)
LINKED = dict(text=TEXT, link='right', target='x')
RUNNING = dict(text=TEXT, link='right', target='x', pid=10, workers=[11], accepting=True)
LOADING = dict(text=TEXT, link='right', target='x', pid=10, workers=[11], accepting=False)
STOPPING = dict(text=TEXT, pid=10, workers=[11], accepting=True)
DANGLING = dict(link='dangling', target='x')
FILE = dict(text=TEXT, link='file', target='x', pid=10, workers=[11], accepting=True)
SHARED = dict(FILE, shared=True)
COPY = dict(FILE, link='copy')
ELSEWHERE = dict(text=TEXT, link='elsewhere', target='x', pid=10, workers=[11], accepting=True)
WRONG = dict(text=TEXT, link='wrong', target='x', pid=10, workers=[11], accepting=True)


@pytest.mark.parametrize(
    'found, state, actions, mode',
    [
        (AVAILABLE, 'enabled', ['link', 'start'], 'start'),
        (LINKED, 'enabled', ['start'], 'start'),
        (RUNNING, 'enabled', [], None),
        (LOADING, 'enabled', [], None),
        (STOPPING, 'enabled', ['link', 'start'], 'start'),
        (FILE, 'enabled', [], None),
        (ELSEWHERE, 'enabled', [], None),
        (ELSEWHERE, 'restarted', ['restart'], 'restart'),
        (ELSEWHERE, 'disabled', ['unlink', 'stop'], 'stop'),
        (ELSEWHERE, 'absent', ['unlink', 'stop'], 'stop'),
        (ABSENT, 'disabled', [], None),
        (AVAILABLE, 'disabled', [], None),
        (LINKED, 'disabled', ['unlink'], 'stop'),
        (RUNNING, 'disabled', ['unlink', 'stop'], 'stop'),
        (STOPPING, 'disabled', ['stop'], 'stop'),
        (DANGLING, 'disabled', ['unlink'], 'stop'),
        (WRONG, 'disabled', ['unlink', 'stop'], 'stop'),
        (AVAILABLE, 'reloaded', ['link', 'start'], 'start'),
        (LINKED, 'reloaded', ['start'], 'start'),
        (RUNNING, 'reloaded', ['reload'], 'reload'),
        (AVAILABLE, 'restarted', ['link', 'start'], 'start'),
        (RUNNING, 'restarted', ['restart'], 'restart'),
        (ABSENT, 'absent', [], None),
        (AVAILABLE, 'absent', ['remove'], None),
        (RUNNING, 'absent', ['unlink', 'stop', 'remove'], 'stop'),
        (DANGLING, 'absent', ['unlink'], 'stop'),
        (FILE, 'absent', ['unlink', 'stop', 'remove'], 'stop'),
        (COPY, 'enabled', [], None),
        (COPY, 'restarted', ['restart'], 'restart'),
        (COPY, 'disabled', ['unlink', 'stop'], 'stop'),
        (COPY, 'absent', ['unlink', 'stop', 'remove'], 'stop'),
        (SHARED, 'enabled', [], None),
        (SHARED, 'restarted', ['restart'], 'restart'),
        (SHARED, 'absent', ['unlink', 'stop', 'remove'], 'stop'),
    ],
)
def test_a_plan_takes_a_situation_to_a_state(found, state, actions, mode):
    plan = make_plan(Situation('a', **found), state)
    assert (list(plan.actions), plan.mode, plan.changed) == (actions, mode, bool(actions))


@pytest.mark.parametrize(
    'found, state, actions',
    [
        (dict(pid=1, link='right'), 'enabled', ['env', 'restart']),
        (dict(pid=1, link='right'), 'reloaded', ['env', 'restart']),
        (dict(link='right'), 'enabled', ['env', 'start']),
        (dict(), 'enabled', ['env', 'link', 'start']),
    ],
)
def test_another_environment_is_a_restart_or_comes_with_the_start(found, state, actions):
    assert list(make_plan(Situation('a', text=b'', **found), state, env_differs=True).actions) == actions


def test_an_environment_alone_is_removed_with_what_is_to_be_absent():
    assert list(make_plan(Situation('a', env=b''), 'absent').actions) == ['remove']
    assert list(make_plan(Situation('a', env=b''), 'disabled').actions) == []


@pytest.mark.parametrize('state, actions', [('disabled', []), ('absent', ['remove'])])
def test_what_has_lost_its_link_and_its_master_is_not_gone_while_its_supervisor_has_it(state, actions):
    plan = make_plan(Situation('a', text=b'', leaving=True), state)
    assert (list(plan.actions), plan.mode, plan.wants_gone) == (actions, 'stop', True)
    assert make_plan(Situation('a', text=b''), state).mode is None


@pytest.mark.parametrize('state', ['reloaded', 'restarted'])
def test_what_is_not_stale_is_left_alone(state):
    assert list(make_plan(Situation('a', **RUNNING), state, stale=False).actions) == []
    assert list(make_plan(Situation('a', **RUNNING), state, stale=True).actions) != []


@pytest.mark.parametrize(
    'unfinished, state, text, actions',
    [
        ('restart', 'enabled', None, ['restart']),
        ('restart', 'enabled', TEXT, ['restart']),
        ('reload', 'enabled', TEXT, ['reload']),
        ('restart', 'enabled', b'[uwsgi]\nworkers = 3\n', ['write', 'restart']),
        ('reload', 'enabled', b'[uwsgi]\nuid = nobody\n', ['write', 'restart']),
        ('restart', 'reloaded', None, ['restart']),
        ('reload', 'restarted', None, ['restart']),
        ('restart', 'disabled', None, ['unlink', 'stop']),
    ],
)
def test_a_change_that_a_killed_run_left_is_taken_up(unfinished, state, text, actions):
    assert list(make_plan(Situation('a', unfinished=unfinished, **RUNNING), state, text).actions) == actions


@pytest.mark.parametrize(
    'found, text, actions',
    [
        (ABSENT, TEXT, ['write', 'link', 'start']),
        (RUNNING, TEXT, []),
        (RUNNING, b'[uwsgi]\nworkers = 3\n', ['write', 'reload']),
        (RUNNING, b'[uwsgi]\nworkers = 2\nuid = nobody\n', ['write', 'restart']),
        (DANGLING, TEXT, ['write', 'link', 'start']),
        (SHARED, TEXT, []),
        (SHARED, b'[uwsgi]\nworkers = 3\n', ['write', 'reload']),
        (dict(shared=True), TEXT, ['write', 'start']),
    ],
)
def test_a_changed_text_is_written_and_applied(found, text, actions):
    assert list(make_plan(Situation('a', **found), 'enabled', text).actions) == actions


@pytest.mark.parametrize(
    'found, state, text, said',
    [
        (ABSENT, 'enabled', None, 'there is no a.ini'),
        (ABSENT, 'restarted', None, 'Install the package'),
        (DANGLING, 'enabled', None, 'a link, x'),
        (WRONG, 'enabled', None, 'Remove that link'),
        (dict(WRONG, text=None), 'restarted', None, 'Remove that link'),
        (FILE, 'disabled', None, 'would be lost'),
        (FILE, 'enabled', TEXT, 'not by a link'),
        (SHARED, 'disabled', None, 'would be lost'),
        (ELSEWHERE, 'enabled', TEXT, 'not by a link'),
    ],
)
def test_what_can_not_be_is_refused_with_a_remedy(found, state, text, said):
    with pytest.raises(VassalError) as error:
        make_plan(Situation('a', **found), state, text)
    assert said in str(error.value)


def test_a_reload_serves_only_what_it_can_apply():
    old = b'[uwsgi]\n# one\nworkers = 2\n'
    assert reload_serves(old, b'[uwsgi]\nworkers = 4\nharakiri = 3\n', '.ini')
    assert reload_serves(old, b'[uwsgi]\nworkers = 2\n', '.ini')
    assert not reload_serves(old, b'[uwsgi]\nworkers = 2\nenv = A=1\n', '.ini')
    assert not reload_serves(old, b'[uwsgi]\nworkers = 2\nsocket = /x\n', '.ini')
    assert not reload_serves(old, b'uwsgi:\n  workers: 4\n', '.yml')
    assert not reload_serves(None, old, '.ini')


@pytest.mark.parametrize('name', ['../x', 'a/b', 'a:b', '', '.a', u'\xe4', 'a' * 255, 'a b', '-a', 'a\n', 'redmine.ini', 'a.yml'])
def test_a_name_that_is_no_plain_file_name_is_refused(name):
    with pytest.raises(VassalError):
        check_name(name)


@pytest.mark.parametrize('name', ['a', 'redmine', 'blog-1', 'my_app', 'example.org', 'a' * 200, '0', 'user@host'])
def test_a_plain_name_is_taken(name):
    assert check_name(name) == name


def test_patterns_stand_for_known_names_each_once_in_order():
    known = set(['blog-b', 'blog-a', 'redmine'])
    assert expand(['redmine', 'blog-*', 'blog-a', 'new'], known) == ['redmine', 'blog-a', 'blog-b', 'new']
    with pytest.raises(VassalError):
        expand(['wiki-*'], known)
    assert expand(['wiki-*', 'blog-b'], known, needed=False) == ['blog-b']


def test_a_config_becomes_an_ini_file():
    assert render({'env': ['A=1', u'B=\xe4'], 'master': True}).startswith(u'[uwsgi]\n')
    assert u'env = A=1\nenv = B=\xe4\n' in render({'env': ['A=1', u'B=\xe4']})
    assert u'master = true\n' in render({'master': True})
    assert u'workers = 4\n' in render({'workers': 4})


@pytest.mark.parametrize('config', [{'a': 'x\ny'}, {'a\nb': 1}, {'': 1}, {'a': None}, {'a': {'b': 1}}, {'a': [[1]]}, {'[x': 1}])
def test_a_config_that_is_no_ini_file_is_refused(config):
    with pytest.raises(VassalError):
        render(config)


def test_a_nul_character_is_refused():
    for config in {'env': ['A=1', 'B=2\0; C=3']}, {'workers': u'2\0'}:
        with pytest.raises(VassalError) as error:
            render(config)
        assert '%s has a NUL character' % list(config)[0] in str(error.value)
    with pytest.raises(VassalError) as error:
        check_content('a', u'[uwsgi]\nenv = A=\0\n')
    assert str(error.value).startswith('a: content has a NUL character in line 2;')
    check_content('a', u'[uwsgi]\nenv = A=\xe4\n')


def test_lines_of_a_file_end_at_line_feeds_alone():
    text = u'[uwsgi]\r\n env = A=\x0b\x85\u2028socket = /x\nworkers = 2\r\n'
    assert list(ini_lines(text)) == [(u'[uwsgi]', u'env', u'A=\x0b\x85\u2028socket = /x'), (u'[uwsgi]', u'workers', u'2')]


def test_only_files_that_the_emperor_takes_are_vassals():
    assert split_extension('a.ini') == ('a', '.ini')
    assert split_extension('a.b.yaml') == ('a.b', '.yaml')
    for name in ('a.txt', '.ini', '.a.ini', 'ini', 'a.ini.new', '.a.ini.123.link'):
        assert split_extension(name) is None


@pytest.mark.parametrize(
    'text, lacking',
    [
        (b'uwsgi:\n  workers: 2\n', False),
        (b'---\n# more\n"uwsgi": # ours\r\n  workers: 2\r\n', False),
        (b'other:\n  a: 1\nuwsgi: &all\n  workers: 2\n', False),
        (b'', True),
        (b'other:\n  workers: 2\n', True),
        (b'uwsgi: 2\n', True),
        (b'{"uwsgi": {"workers": 2}}\n', True),
        (b'# uwsgi:\n', True),
    ],
)
def test_yaml_of_which_uwsgi_reads_nothing_is_seen(text, lacking):
    assert lacks_mapping('a.yml', text) is lacks_mapping('a.yaml', text) is lacking
    assert not lacks_mapping('a.json', text)


def test_yaml_of_blank_lines_is_read_in_no_time():
    began = time.time()
    assert lacks_mapping('a.yml', b'\n ' * 500000)
    assert lacks_mapping('a.yml', b'uwsgi: &' + b'# ' * 500000 + b'\n') is False
    assert lacks_mapping('a.yml', b'uwsgi' * 500000)
    assert time.time() - began < 5
