# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils._files import Files
from ansible_collections.uwsgi.emperor.plugins.module_utils._job import Job
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import Situation, make_plan
from ansible_collections.uwsgi.emperor.plugins.modules import uwsgi_vassal
from ansible_collections.uwsgi.emperor.plugins.modules.uwsgi_vassal import HIDDEN, diff, predict, take_secrets, without_values

UP = dict(text=b'[uwsgi]\n', link='right', target='/e/a.ini -> ../v/a.ini', pid=7, workers=[8], accepting=True, access=(0o640, 0, 0))


class Host(object):
    files = Files('/u/v', '/u/e')


class Module(object):
    def __init__(self, **params):
        self.params = dict(dict(env=None, vassals=None), **params)
        self.no_log_values = set(['1'])


@pytest.mark.parametrize(
    'state, text, pid',
    [('enabled', None, 7), ('reloaded', None, 7), ('restarted', None, None), ('enabled', b'[uwsgi]\nuid = x\n', None), ('disabled', None, None)],
)
def test_check_mode_knows_a_pid_only_where_it_stays(state, text, pid):
    situation = Situation('a', **UP)
    predicted = predict(situation, make_plan(situation, state, text))
    up = state != 'disabled'
    assert predicted == dict(enabled=up, running=up, accepting=up, pid=pid)


def test_values_of_variables_are_in_no_result_and_blot_out_no_pid():
    module = Module(env={'KEY': '1'}, vassals={'a': {'env': {'KEY': '2'}, 'envi': {'KEY': '3'}, 'state': 'enabled'}, 'b': None, 'c': 'KEY=4'})
    params = take_secrets(module)
    assert params['env'] == {'KEY': '1'} and params['vassals']['a']['env'] == {'KEY': '2'}
    assert module.params['env'] == {'KEY': HIDDEN}
    assert module.params['vassals'] == {'a': {'env': {'KEY': HIDDEN}, 'envi': HIDDEN, 'state': 'enabled'}, 'b': None, 'c': HIDDEN}
    assert module.no_log_values == set()


def test_an_environment_that_is_no_dict_is_hidden_as_a_whole():
    assert without_values({'env': ['KEY=1']}) == {'env': HIDDEN}


def test_a_diff_shows_files_and_link_and_of_the_environment_the_names():
    job = Job(Situation('a'), make_plan(Situation('a'), 'enabled', b'[uwsgi]\n', env_differs=True), b'[uwsgi]\n', env=b'[uwsgi]\nenv = KEY=secret\n')
    shown = dict((one['after_header'], (one['before'], one['after'])) for one in diff(Host, job))
    assert shown['/u/v/a.ini'] == ('', '[uwsgi]\n')
    assert shown['/u/e/a.ini'] == ('', '/u/v/a.ini\n')
    assert 'KEY' in shown['/u/apps-env/a.ini'][1] and 'secret' not in str(shown)


def test_a_diff_of_what_stays_is_empty():
    assert diff(Host, Job(Situation('a', **UP), make_plan(Situation('a', **UP), 'enabled'))) == []


def test_a_diff_shows_access_by_names():
    assert uwsgi_vassal.show_access((0o640, 0, 0)) == 'mode: 0640\nowner: root\ngroup: root\n'
    assert 'owner: 4294967294' in uwsgi_vassal.show_access((0o640, 4294967294, 0))
