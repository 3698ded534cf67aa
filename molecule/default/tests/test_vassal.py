# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each state of the module, twice in check mode and twice for real, and what the application's users see of it."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import pytest
import testinfra
from conftest import Site, ad_hoc, quartet

HELLO = dict(plugin='python3', **{'wsgi-file': '/srv/hello/hello.py', 'env': [u'GREETING=Grüße']})


@pytest.fixture(scope='module')
def sites():
    """All hosts by name: a call acts on all of them at once."""
    names = ['uwsgi-emperor-%s' % suite for suite in ('bullseye', 'bookworm', 'trixie')]
    return dict((name, Site(testinfra.get_host('podman://' + name))) for name in names)


def masters(sites, name='hello'):
    return dict((key, site.facts(name)['master']) for key, site in sites.items())


def actions(results):
    return set(tuple(result['vassals'][0]['actions']) for result in results.values())


def test_check_mode_touches_no_running_application(sites):
    before = masters(sites)
    for state in 'disabled', 'reloaded', 'restarted', 'absent':
        results = ad_hoc('uwsgi_vassal', dict(name='hello', state=state), '--check')
        assert all(result['changed'] for result in results.values()), results
    assert masters(sites) == before


def test_disabled_takes_an_application_away_once(sites):
    calls = quartet(dict(name='hello', state='disabled'))
    for result in calls[1].values():
        assert result['vassals'][0]['before']['accepting'] is True
        assert result['vassals'][0]['after'] == dict(enabled=False, running=False, accepting=False, pid=None)
    assert all(site.get('hello')[0] == 502 for site in sites.values())


def test_enabled_brings_an_application_up_once(sites):
    calls = quartet(dict(name='hello', state='enabled', probe=dict(path='/')))
    found = masters(sites)
    for key, result in calls[1].items():
        assert result['vassals'][0]['after'] == dict(enabled=True, running=True, accepting=True, pid=found[key])


def test_reloaded_keeps_the_master_each_time(sites):
    before = masters(sites)
    workers = dict((key, site.facts('hello')['pid']) for key, site in sites.items())
    quartet(dict(name='hello', state='reloaded'), repeats=True)
    assert masters(sites) == before
    assert all(site.facts('hello')['pid'] != workers[key] for key, site in sites.items())


def test_restarted_replaces_the_master_each_time(sites):
    before = masters(sites)
    calls = quartet(dict(name='hello', state='restarted'), repeats=True)
    found = masters(sites)
    for key in sites:
        pids = [before[key], calls[1][key]['vassals'][0]['after']['pid'], calls[3][key]['vassals'][0]['after']['pid']]
        assert len(set(pids)) == 3
        assert pids[2] == found[key]


def test_config_writes_and_starts_an_application_once(sites):
    calls = quartet(dict(name='guest', config=HELLO))
    assert actions(calls[0]) == actions(calls[1]) == set([('write', 'link', 'start')])
    assert actions(calls[3]) == set([()])


def test_changed_config_is_applied_once(sites):
    before = dict((key, result['vassals'][0]['after']['pid']) for key, result in ad_hoc('uwsgi_vassal', dict(name='guest')).items())
    calls = quartet(dict(name='guest', config=dict(HELLO, workers=1)))
    assert all(len(result['vassals'][0]['actions']) == 2 for result in calls[1].values())
    assert all(before.values())


def test_several_applications_are_answered_in_the_order_asked_for():
    results = ad_hoc('uwsgi.emperor.uwsgi_vassal', dict(name=['stone', 'guest', 'hello']))
    for result in results.values():
        assert [vassal['name'] for vassal in result['vassals']] == ['stone', 'guest', 'hello']


def test_a_pattern_stands_for_the_files_that_are_there():
    results = ad_hoc('uwsgi_vassal', dict(name='g*', state='restarted'), '--check')
    for result in results.values():
        assert [vassal['name'] for vassal in result['vassals']] == ['guest']


def test_absent_removes_an_application_once(sites):
    quartet(dict(name='guest', state='absent'))
    results = ad_hoc('uwsgi_vassal', dict(name='guest'))
    assert all(result['failed'] for result in results.values()), 'its file is gone, so it can not be enabled'


@pytest.mark.parametrize(
    'config, reason',
    [
        ({'plugin': 'python3', 'wsgi-file': '/srv/hello/nowhere.py', 'need-app': True}, 'nowhere.py'),
        ({'plugin': 'nonesuch'}, 'nonesuch'),
        ({'plugin': 'python3', 'wsgi-file': '/srv/hello/hello.py', 'uid': 'nobody-at-all'}, 'nobody-at-all'),
    ],
    ids=['no-file', 'no-plugin', 'no-user'],
)
def test_an_application_that_cannot_start_fails_with_the_reason_within_the_timeout(config, reason):
    results = ad_hoc('uwsgi_vassal', dict(name='broken', config=config, timeout=20))
    for result in results.values():
        assert result['failed'], result
        assert reason in result['msg']
        assert result.get('vassals', [{'elapsed': 0}])[0]['elapsed'] < 21
    ad_hoc('uwsgi_vassal', dict(name='broken', state='absent'))


def test_a_failed_change_leaves_the_former_application_running(sites):
    results = ad_hoc('uwsgi_vassal', dict(name='hello', config=dict(HELLO, plugin='nonesuch'), timeout=20))
    assert all(result['failed'] for result in results.values()), results
    assert all(site.facts('hello')['greeting'] == u'Grüße vom Kaiser' for site in sites.values())


def test_the_info_module_tells_what_runs_and_changes_nothing(sites):
    results = ad_hoc('uwsgi_vassal_info', dict(unit='uwsgi.service'))
    found = masters(sites)
    for key, result in results.items():
        assert result['changed'] is False
        assert result['emperor']['running'] is True
        vassal = [one for one in result['vassals'] if one['name'] == 'hello'][0]
        assert (vassal['enabled'], vassal['running'], vassal['accepting']) == (True, True, True)
        assert vassal['pid'] == found[key]
