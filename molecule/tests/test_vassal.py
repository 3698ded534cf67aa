# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each state of the module, twice in check mode and twice for real, and what the application's users see of it.

On hosts of the role and on one that was set up by hand, without a stats socket.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import time

import pytest
from conftest import BY_HAND, BY_ROLE, BY_SYSTEMD, PLUGIN, ad_hoc, call, drive, parse, quartet

SCENARIOS = ['default', 'jessie', 'systemd']

HELLO = dict(plugin=PLUGIN, **{'wsgi-file': '/srv/hello/hello.py', 'env': [u'GREETING=Grüße']})


class Requests(object):
    """A request of some seconds to each host's application, under way."""

    def __init__(self, sites, seconds):
        self.sites = sites
        for site in sites.values():
            site.host.check_output(
                'rm -f /tmp/status; nohup curl --silent --max-time 60 --output /dev/null --write-out "%%{http_code}" '
                '--header "Host: hello.localhost" http://127.0.0.1/slow/%d > /tmp/status 2> /dev/null < /dev/null &' % seconds
            )
        time.sleep(1)

    def statuses(self):
        for site in self.sites.values():
            site.host.run('for i in $(seq 150); do [ -s /tmp/status ] && break; sleep 0.1; done')
        return set(site.host.check_output('cat /tmp/status') for site in self.sites.values())


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


def test_code_that_is_not_loaded_yet_stays_so_when_the_master_makes_other_workers(sites):
    """They are copies of what it has loaded, whatever ended those before: max-requests, a crash, a user."""
    task = dict(name='hello', state='reloaded', only_if_stale=True, watch=['/srv/hello/hello.py'])
    drive(dict(name='hello', state='reloaded'))
    assert not any(result['changed'] for result in drive(task).values())
    for site in sites.values():
        before = site.facts('hello')
        site.host.check_output('touch /srv/hello/hello.py; sleep 0.1; pkill -KILL -P %d' % before['master'])
        site.host.check_output('for i in $(seq 300); do pgrep -P %d > /dev/null && exit; sleep 0.1; done; exit 1' % before['master'])
    quartet(task)


@pytest.mark.parametrize('state', ['restarted', 'reloaded', 'disabled'])
def test_requests_in_flight_are_finished(sites, state):
    requests = Requests(sites, 5)
    drive(dict(name='hello', state=state))
    assert requests.statuses() == set(['200'])
    drive(dict(name='hello'))


@pytest.mark.parametrize('state', ['restarted', 'disabled'])
def test_requests_that_outlast_the_timeout_are_killed_and_that_is_reported(sites, state):
    requests = Requests(sites, 40)
    dummy, output = call(['ansible', 'all', '-b', '-m', 'uwsgi_vassal', '-a', 'name=hello timeout=3 state=' + state])
    results = parse(output)
    drive(dict(name='hello'))
    for key in sites:
        assert not results[key]['failed'], '%s: %s' % (key, results[key])
        assert results[key]['vassals'][0]['actions'][-1] == 'kill', '%s: %s' % (key, results[key])
        assert results[key]['vassals'][0]['elapsed'] < 15, '%s: %s' % (key, results[key])
    # ad hoc, Ansible shows a warning that several hosts have only once
    assert 'hello: requests in flight had not ended after 3 s; its workers were killed' in ' '.join(output.split())
    assert requests.statuses() == set(['502'])
    masters(sites)


@pytest.mark.parametrize(
    'options, method',
    [({'lazy-apps': True, 'master-fifo': '%s/%%N.fifo'}, 'chain'), ({}, 'brutal')],
    ids=['chain', 'brutal'],
)
def test_a_reload_by_another_method_replaces_the_workers_each_time(sites, options, method):
    # on a host of the role each application has a directory of its own for what its user makes
    for hosts, directory in (BY_ROLE, '/run/uwsgi/app/%N'), (BY_HAND, '/run/uwsgi'):
        config = dict((option, value % directory if option == 'master-fifo' else value) for option, value in dict(HELLO, **options).items())
        if hosts:
            drive(dict(name='guest', config=config), hosts=tuple(hosts))
    before = dict((key, result['vassals'][0]) for key, result in ad_hoc('uwsgi_vassal_info', dict(name='guest')).items())
    quartet(dict(name='guest', state='reloaded', method=method), repeats=True)
    after = dict((key, result['vassals'][0]) for key, result in ad_hoc('uwsgi_vassal_info', dict(name='guest')).items())
    for key in before:
        assert before[key]['pid'] == after[key]['pid'] and after[key]['accepting'], key
    drive(dict(name='guest', state='absent'))


@pytest.mark.parametrize('state', ['disabled', 'absent'])
def test_a_pattern_without_a_match_leaves_nothing_to_do(state):
    for options in ('--check',), ():
        for key, result in ad_hoc('uwsgi_vassal', dict(name='nobody-*', state=state), *options).items():
            assert (result['failed'], result.get('changed'), result.get('vassals')) == (False, False, []), '%s: %s' % (key, result)


@pytest.mark.parametrize('state', ['enabled', 'reloaded', 'restarted'])
def test_a_pattern_without_a_match_is_told_where_something_would_be_to_do(state):
    for key, result in ad_hoc('uwsgi_vassal', dict(name='nobody-*', state=state)).items():
        assert result['failed'] and 'nobody-*' in result['msg'], '%s: %s' % (key, result)


def test_a_chain_reload_is_refused_where_it_would_reload_nothing(sites):
    before = masters(sites)
    for result in ad_hoc('uwsgi_vassal', dict(name='hello', state='reloaded', method='chain')).values():
        assert result['failed'] and 'master-fifo and lazy-apps' in result['msg'], result
    assert masters(sites) == before


def test_applications_of_uncommon_kinds_are_driven_as_any(sites):
    kinds = {'cheap': {'cheap': True}, 'idle': {'idle': 1}, 'masterless': {'master': False, 'workers': 1}, 'plugged': {'http': ':8099'}}
    wishes = dict((name, dict(config=dict(HELLO, **options))) for name, options in kinds.items())
    for arguments in (
        dict(vassals=wishes),
        dict(vassals=wishes),
        dict(name=sorted(kinds), state='restarted'),
        dict(name=sorted(kinds), state='reloaded'),
        dict(name=sorted(kinds), state='absent'),
    ):
        first = not site_has(sites, 'cheap')
        for key, result in ad_hoc('uwsgi_vassal', dict(arguments, timeout=20)).items():
            assert not result['failed'], '%s, %s: %s' % (key, arguments, result)
            assert result['changed'] is (first or 'state' in arguments), '%s, %s: %s' % (key, arguments, result)
        time.sleep(1.5)  # the idle one falls asleep
    assert not site_has(sites, 'masterless')


# A daemon that outlives its master's reload and says when it is told to end, and a mule.
CREW = r"""
mkdir -p /srv/crew/spool && cd /srv/crew
printf '#!/bin/sh\ntrap "echo >> told; exit" TERM\necho $$ > d.pid\nwhile sleep 1; do :; done\n' > daemon
printf 'import time\nwhile True:\n    time.sleep(1)\n' > mule.py
chmod +x daemon; chown -R www-data .
"""
# Once both run, of the daemon: its PID, whether it lives, and the file in which it says that it is told to end.
DAEMON = (
    'for i in $(seq %d); do pgrep -fx "/bin/sleep 50" && break; sleep 0.1; done > /dev/null; '
    'cd /srv/crew; cat d.pid; kill -0 $(cat d.pid) && echo lives; ls told'
)


def test_who_is_no_worker_is_neither_waited_for_nor_counted_nor_killed(sites):
    """Daemons, commands of cron, mules and spoolers."""
    config = dict(HELLO, chdir='/srv/crew', mule='/srv/crew/mule.py', spooler='/srv/crew/spool', cron='-1 -1 -1 -1 -1 /bin/sleep 50', workers=2)
    config['smart-attach-daemon'] = '/srv/crew/d.pid exec /srv/crew/daemon'

    def everywhere(command):
        return dict((key, site.host.run(command).stdout) for key, site in sites.items())

    everywhere(CREW)
    try:
        drive(dict(name='crew', config=config))
        before = everywhere(DAEMON % 600)
        assert all(said.split()[1:] == ['lives'] for said in before.values()), before
        for wish in dict(state='reloaded'), dict(config=dict(config, **{'max-requests': 1000})):
            for key, result in drive(dict(wish, name='crew', timeout=30)).items():
                assert 'reload' in result['vassals'][0]['actions'] and 'kill' not in result['vassals'][0]['actions'], '%s: %s' % (key, result)
            # what the master has just forked counts until it has closed a million descriptors and has become the command of cron
            for dummy in range(20):
                found = dict((key, result['vassals'][0]) for key, result in ad_hoc('uwsgi_vassal_info', dict(name='crew')).items())
                if all(vassal['workers'] == 2 for vassal in found.values()):
                    break
            for key, vassal in found.items():
                assert (vassal['workers'], vassal['stale'], vassal['accepting']) == (2, False, True), '%s: %s' % (key, vassal)
            assert everywhere(DAEMON % 0) == before
        # systemd's own stop waits for all of them
        for state in () if BY_SYSTEMD else ('restarted', 'disabled'):
            for key, result in drive(dict(name='crew', state=state, timeout=30)).items():
                assert 'kill' not in result['vassals'][0]['actions'] and 'warnings' not in result, '%s: %s' % (key, result)
        assert everywhere(DAEMON % 0) == before
    finally:
        if BY_SYSTEMD:
            everywhere('systemctl stop --no-block uwsgi@crew; systemctl kill -s KILL uwsgi@crew')
        drive(dict(name='crew', state='absent'))
        everywhere('kill -KILL $(cat /srv/crew/d.pid); pkill -KILL -fx "/bin/sleep 50"; rm -r /srv/crew')


def site_has(sites, name):
    """Whether a process of the application runs on any host."""
    return any(site.host.run('pgrep --full %s', '[-]-ini %s.ini' % name).stdout for site in sites.values())


def test_config_writes_and_starts_an_application_once(sites):
    calls = quartet(dict(name='guest', config=HELLO))
    assert actions(calls[0]) == actions(calls[1]) == set([('write', 'link', 'start')])
    assert actions(calls[3]) == set([()])


def test_a_copy_of_an_available_file_is_disabled_as_a_link_is(sites):
    drive(dict(name='copied', config=dict(HELLO, workers=1)))
    try:
        for site in sites.values():
            # at once and as old, so that the Emperor does nothing
            site.host.check_output('cp -p /etc/uwsgi/apps-available/copied.ini /etc/uwsgi/copy && mv -T /etc/uwsgi/copy /etc/uwsgi/apps-enabled/copied.ini')
        for key, result in drive(dict(name='copied')).items():
            assert not result['changed'] and result['vassals'][0]['after']['accepting'], '%s: %s' % (key, result)
        calls = quartet(dict(name='copied', state='disabled'))
        assert actions(calls[0]) == actions(calls[1]) == set([('unlink', 'stop')])
        for site in sites.values():
            site.host.check_output('test -s /etc/uwsgi/apps-available/copied.ini && ! test -e /etc/uwsgi/apps-enabled/copied.ini')
    finally:
        drive(dict(name='copied', state='absent'))


def test_an_application_of_which_a_hook_has_failed_is_not_up(sites):
    """uWSGI serves all the same, with a master that takes itself for ending and no notice of what it is told."""
    config = dict(HELLO, workers=1, **{'hook-pre-app': 'exec:/bin/false'})
    try:
        for key, result in ad_hoc('uwsgi_vassal', dict(name='hooked', config=config, timeout=30)).items():
            assert result['failed'] and 'command "/bin/false" exited with non-zero code: 1' in result['msg'], '%s: %s' % (key, result)
            assert result['vassals'][0]['actions'][-1] == 'rollback' and not result['vassals'][0]['after']['running'], '%s: %s' % (key, result)
        # one that was started by hand is stopped as soon as it is asked
        text = '[uwsgi]\nplugin = %s\nwsgi-file = /srv/hello/hello.py\nhook-pre-app = exec:/bin/false\n' % PLUGIN
        for site in sites.values():
            site.host.check_output('printf %%s %s > /etc/uwsgi/apps-available/hooked.ini', text)
        ad_hoc('uwsgi_vassal', dict(name='hooked', wait=False))
        for dummy in range(50):
            found = dict((key, result['vassals'][0]) for key, result in ad_hoc('uwsgi_vassal_info', dict(name='hooked')).items())
            if all(vassal['workers'] and vassal['accepting'] for vassal in found.values()):
                break
        for key, result in drive(dict(name='hooked', state='disabled', timeout=60)).items():
            assert 'kill' not in result['vassals'][0]['actions'] and 'warnings' not in result, '%s: %s' % (key, result)
    finally:
        drive(dict(name='hooked', state='absent'))


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
    results = ad_hoc('uwsgi_vassal', dict(name='g*'), '--check')
    for result in results.values():
        assert [vassal['name'] for vassal in result['vassals']] == ['guest']


def test_absent_removes_an_application_once(sites):
    quartet(dict(name='guest', state='absent'))
    results = ad_hoc('uwsgi_vassal', dict(name='guest'))
    assert all(result['failed'] for result in results.values()), 'its file is gone, so it can not be enabled'


@pytest.mark.parametrize(
    'config, reason',
    [
        ({'plugin': PLUGIN, 'wsgi-file': '/srv/hello/nowhere.py', 'need-app': True}, 'nowhere.py'),
        ({'plugin': 'nonesuch'}, 'nonesuch'),
        ({'plugin': PLUGIN, 'wsgi-file': '/srv/hello/hello.py', 'chdir': '/nowhere-at-all'}, 'nowhere-at-all'),
    ],
    ids=['no-file', 'no-plugin', 'no-directory'],
)
def test_an_application_that_cannot_start_fails_with_the_reason_within_the_timeout(config, reason):
    results = ad_hoc('uwsgi_vassal', dict(name='broken', config=config, timeout=20))
    for result in results.values():
        assert result['failed'], result
        assert reason in result['msg']
        assert result.get('vassals', [{'elapsed': 0}])[0]['elapsed'] < 21
    drive(dict(name='broken', state='absent'))


def test_one_that_cannot_start_does_not_hold_up_the_others():
    vassals = {'broken': {'config': dict(HELLO, **{'wsgi-file': '/srv/hello/nowhere.py', 'need-app': True})}, 'sound': {'config': HELLO}}
    for result in ad_hoc('uwsgi_vassal', dict(vassals=vassals, timeout=20)).values():
        assert result['failed'] and 'nowhere.py' in result['msg'], result
        found = dict((vassal['name'], vassal) for vassal in result['vassals'])
        assert found['broken']['actions'][-1] == 'rollback'
        assert found['sound']['after']['accepting'] and found['sound']['actions'] == ['write', 'link', 'start']
        assert found['sound']['elapsed'] < found['broken']['elapsed']
    drive(dict(name=['broken', 'sound'], state='absent'))


def test_an_application_that_was_mended_comes_up_though_its_emperor_throttles_it(sites):
    link = 'echo 1/0 > /srv/mended.py; printf "[uwsgi]\nplugin = ' + PLUGIN + '\nwsgi-file = /srv/mended.py\nneed-app = true\n" > %s; ln -s %s %s'
    path = '/etc/uwsgi/apps-available/mended.ini'
    for site in sites.values():
        site.host.check_output(link, path, path, path.replace('available', 'enabled'))
    time.sleep(8)
    for site in sites.values():
        site.host.check_output('cp /srv/hello/hello.py /srv/mended.py')
    for key, result in drive(dict(name='mended')).items():
        assert result['vassals'][0]['after']['accepting'], '%s: %s' % (key, result)
    drive(dict(name='mended', state='absent'))


def test_an_application_without_requests_is_not_throttled_for_its_restarts():
    # One that has answered none since its start is on the Emperor's blacklist once it ends.
    drive(dict(name='idle', config=HELLO))
    for state in ('restarted', 'restarted', 'disabled', 'enabled', 'restarted'):
        drive(dict(name='idle', state=state))
    for key, result in ad_hoc('uwsgi_vassal_info', dict(name='idle')).items():
        # None where no stats tell it
        assert result['vassals'][0]['failures'] in (None, 0, 1), '%s: %s' % (key, result)
    drive(dict(name='idle', state='absent'))


@pytest.mark.parametrize('change', [{'plugin': 'nonesuch'}, {'wsgi-file': '/srv/hello/nowhere.py', 'need-app': True}], ids=['refused', 'rolled-back'])
def test_a_failed_change_leaves_the_former_application_running(sites, change):
    results = ad_hoc('uwsgi_vassal', dict(name='hello', config=dict(HELLO, **change), timeout=20))
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


SAME = {'plugin': PLUGIN, 'wsgi-file': '/srv/hello/hello.py'}
AVAILABLE, ENABLED = '/etc/uwsgi/apps-available/%s.ini', '/etc/uwsgi/apps-enabled/%s.ini'
WRITE = 'printf "[uwsgi]\\nplugin = %s\\nwsgi-file = /srv/hello/hello.py\\n" > ' % PLUGIN
# What is found: how it is made, and the wishes that can be granted then. What can't is in test_hostile.py.
FOUND = {
    'nothing': ('true || %s', ['disabled', 'absent']),
    'dangling': ('ln -s ../apps-available/%s.ini ' + ENABLED, ['disabled', 'absent']),
    'available': (WRITE + AVAILABLE, ['enabled', 'disabled', 'reloaded', 'restarted', 'absent']),
    'running': (WRITE + AVAILABLE + '; ln -s ../apps-available/%s.ini ' + ENABLED, ['enabled', 'disabled', 'reloaded', 'restarted', 'absent']),
    'file': (WRITE + ENABLED, ['enabled', 'reloaded', 'restarted', 'absent']),
}


def test_check_mode_says_what_the_run_then_does(sites):
    lines, wishes = [], {}
    for found, (making, states) in sorted(FOUND.items()):
        wanted = [(state, dict(state=state)) for state in states]
        if found in ('nothing', 'available', 'running'):
            for state in 'enabled', 'reloaded', 'restarted':
                for kind, change in ('same', {}), ('soft', {'harakiri': 9}), ('hard', {'env': 'A=1'}):
                    wanted.append(('%s-%s' % (state, kind), dict(state=state, config=dict(SAME, **change))))
        for title, wish in wanted:
            name = 'matrix-%s-%s' % (found, title)
            lines.append(making.replace('%s', name))
            wishes[name] = wish
    for site in sites.values():
        site.host.check_output('\n'.join(lines))
    running = sorted(name for name in wishes if name.startswith(('matrix-running', 'matrix-file')))
    drive(dict(name=running))
    predicted = ad_hoc('uwsgi_vassal', dict(vassals=wishes), '--check')
    done = ad_hoc('uwsgi_vassal', dict(vassals=wishes))
    for key in sites:
        assert not predicted[key]['failed'] and not done[key]['failed'], '%s: %s %s' % (key, predicted[key], done[key])
        assert len(done[key]['vassals']) == len(wishes)
        for check, run in zip(predicted[key]['vassals'], done[key]['vassals']):
            for one in check, run:
                one['after'].pop('pid')
            for word in 'name', 'before', 'after', 'actions', 'changed':
                assert check[word] == run[word], '%s, %s: %s, then %s' % (key, check['name'], check, run)
    drive(dict(name='matrix-*', state='absent'))
