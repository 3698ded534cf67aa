# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module on files of every kind that the Emperor takes, and on the layout of Debian's package uwsgi-emperor, by its options.

On the newest of the role's hosts and on the one that was set up by hand.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json

import conftest
import pytest
from conftest import BY_HAND, call, parse
from test_hostile import HOSTS, ad_hoc, drive, everywhere

SCENARIOS = ['hostile']

YAML = u"""---
# Grüße
uwsgi:
  plugin: python3
  wsgi-file: /srv/hello/hello.py
  harakiri: %d
  env:
    - "GREETING=Grüße vom Kaiser"
    - "TITLE=皇帝"
"""
JSON = u'{"uwsgi": {"plugin": "python3", "wsgi-file": "/srv/hello/hello.py", "harakiri": %d, "env": ["GREETING=Grüße vom Kaiser", "TITLE=皇帝"]}}\n'
XML = u"""<?xml version="1.0" encoding="UTF-8"?>
<uwsgi>
  <!-- Grüße -->
  <plugin>python3</plugin>
  <wsgi-file>/srv/hello/hello.py</wsgi-file>
  <harakiri>%d</harakiri>
  <env>GREETING=Grüße vom Kaiser</env>
  <env>TITLE=皇帝</env>
</uwsgi>
"""
INI = u'[uwsgi]\nplugin = python3\nwsgi-file = /srv/hello/hello.py\nharakiri = %d\nenv = GREETING=Grüße vom Kaiser\nenv = TITLE=皇帝\n'
KINDS = {'ini': INI, 'yml': YAML, 'yaml': YAML, 'json': JSON, 'js': JSON, 'xml': XML}
NAMES = sorted('kind-' + kind for kind in KINDS)
# Asks applications over their own sockets, in the uwsgi protocol.
ASK = """
import glob, json, socket, struct, sys
query = b''.join(struct.pack('<H', len(word)) + word for word in (b'REQUEST_METHOD', b'GET', b'PATH_INFO', b'/'))
told = {}
for name in sys.argv[1:]:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(next(path for path in glob.glob('/run/uwsgi*/%s.socket' % name)))
    connection.sendall(struct.pack('<BHB', 0, len(query), 0) + query)
    told[name] = json.loads(b''.join(iter(lambda: connection.recv(4096), b'')).split(b'\\r\\n\\r\\n', 1)[1].decode())
print(json.dumps(told))
"""


@pytest.fixture(scope='module')
def sites(sites):
    return dict((name, sites[name]) for name in HOSTS)


@pytest.fixture(scope='module')
def kinds(sites):
    """A file of each kind, as a package or an administrator would bring it, not enabled."""
    for site in sites.values():
        for kind, text in KINDS.items():
            site.host.check_output('printf %%s %s > /etc/uwsgi/apps-available/kind-%s.%s', text % 20, kind, kind)
    yield
    drive(dict(name='kind-*', state='absent'))


def every(results, **expected):
    """All vassals of all hosts have these results."""
    for key, result in results.items():
        assert not result['failed'], '%s: %s' % (key, result)
        for vassal in result['vassals']:
            for word, value in expected.items():
                assert vassal[word] == value, '%s: %s' % (key, vassal)
    return results


def pids(results, when='after'):
    return dict(((key, vassal['name']), vassal[when]['pid']) for key, result in results.items() for vassal in result['vassals'])


def facts(site, *names):
    """What applications tell of themselves, by name."""
    return json.loads(site.host.check_output('python3 -c %s ' + ' '.join(names), ASK))


def test_files_of_every_kind_are_driven_through_the_states(kinds, sites):
    up = every(ad_hoc('uwsgi_vassal', dict(name=NAMES, probe=dict(path='/'))), actions=['link', 'start'])
    assert all(len(result['vassals']) == len(KINDS) for result in up.values())
    for site in sites.values():
        for name, told in facts(site, *NAMES).items():
            assert '20' in told['harakiri'] and (told['greeting'], told['title']) == (u'Grüße vom Kaiser', u'皇帝'), name
    every(ad_hoc('uwsgi_vassal', dict(name=NAMES)), actions=[], changed=False)
    reloaded = every(ad_hoc('uwsgi_vassal', dict(name='kind-*', state='reloaded')), actions=['reload'])
    assert pids(reloaded) == pids(up)
    restarted = every(ad_hoc('uwsgi_vassal', dict(name='kind-*', state='restarted')), actions=['restart'])
    assert not set(pids(restarted).items()) & set(pids(up).items())
    info = every(ad_hoc('uwsgi_vassal_info', dict(name='kind-*')), accepting=True, stale=False, workers=2)
    for result in info.values():
        for vassal in result['vassals']:
            assert vassal['config'] == '/etc/uwsgi/apps-available/%s.%s' % (vassal['name'], vassal['name'].split('-')[1])
            assert vassal['socket'] == '/run/uwsgi/%s.socket' % vassal['name']


def test_the_content_of_files_of_every_kind_is_written_in_their_own_format(kinds, sites):
    wishes = dict(vassals=dict(('kind-' + kind, dict(content=text % 30)) for kind, text in KINDS.items()))
    done = every(ad_hoc('uwsgi_vassal', wishes))
    for result in done.values():
        for vassal in result['vassals']:
            # only an INI file is understood so far that a reload is seen to do
            assert vassal['actions'] == ['write', 'reload' if vassal['name'] == 'kind-ini' else 'restart'], vassal
    every(ad_hoc('uwsgi_vassal', wishes), actions=[], changed=False)
    for site in sites.values():
        assert all('30' in told['harakiri'] for told in facts(site, *NAMES).values())
    for result in ad_hoc('uwsgi_vassal', dict(name='kind-yml', config=dict(workers=2))).values():
        assert result['failed'] and 'content' in result['msg'], result


BROKEN = {
    'ini': ('no section\n', 'it has no section [uwsgi]'),
    'yml': ('uwsgi:\n\tplugin: python3\n', 'error parsing YAML file: found character that cannot start any token'),
    'yaml': ('plugin: python3\nworkers: 2\n', 'it has no block named uwsgi'),
    'json': ('{"uwsgi": {"plugin": "python3", ', 'error parsing JSON data: '),
    'js': ('{"plugin": "python3"}', 'you must define a object named uwsgi in your JSON data'),
    'xml': ('<uwsgi><plugin>python3</uwsgi>', 'parser error : Opening and ending tag mismatch: plugin'),
}


def test_broken_files_of_every_kind_are_refused_with_the_parsers_words_and_nothing_changes(kinds, sites):
    before = pids(every(ad_hoc('uwsgi_vassal', dict(name=NAMES))))
    state = everywhere(sites, 'cksum /etc/uwsgi/apps-available/kind-*; ls -l --time-style=full-iso /etc/uwsgi/apps-*')
    wishes = dict(('kind-' + kind, dict(content=text)) for kind, (text, dummy) in BROKEN.items())
    for key, result in ad_hoc('uwsgi_vassal', dict(vassals=wishes)).items():
        assert result['failed'] and not result['changed'], '%s: %s' % (key, result)
        for vassal in result['vassals']:
            assert BROKEN[vassal['name'].split('-')[1]][1] in vassal['msg'], '%s: %s' % (key, vassal)
            assert vassal['msg'].endswith('Nothing of it was changed.') and vassal['actions'] == [], vassal
    assert everywhere(sites, 'cksum /etc/uwsgi/apps-available/kind-*; ls -l --time-style=full-iso /etc/uwsgi/apps-*') == state
    assert pids(every(ad_hoc('uwsgi_vassal', dict(name=NAMES)), changed=False)) == before


def test_files_that_somebody_broke_are_refused_before_what_runs_is_stopped(kinds, sites):
    before = pids(every(ad_hoc('uwsgi_vassal', dict(name=NAMES))))
    available = '/etc/uwsgi/apps-available/kind-%s.%s'
    # with the time of the previous file, or the Emperor would take it itself
    for site in sites.values():
        for kind, (text, dummy) in BROKEN.items():
            path = available % (kind, kind)
            site.host.check_output('cp -p %s %s.good; printf %%s %s > %s.bad; touch -r %s %s.bad; mv %s.bad %s', path, path, text, *[path] * 5)
    try:
        for key, result in ad_hoc('uwsgi_vassal', dict(name=NAMES, state='restarted')).items():
            assert result['failed'] and not result['changed'], '%s: %s' % (key, result)
            for vassal in result['vassals']:
                assert BROKEN[vassal['name'].split('-')[1]][1] in vassal['msg'], '%s: %s' % (key, vassal)
    finally:
        for site in sites.values():
            for kind in BROKEN:
                site.host.check_output('mv %s.good %s', available % (kind, kind), available % (kind, kind))
    assert pids(every(ad_hoc('uwsgi_vassal', dict(name=NAMES)), changed=False)) == before


def test_files_of_every_kind_are_disabled_and_removed_once(kinds, sites):
    every(ad_hoc('uwsgi_vassal', dict(name=NAMES, state='disabled')), actions=['unlink', 'stop'])
    every(ad_hoc('uwsgi_vassal', dict(name=NAMES, state='absent')), actions=['remove'])
    every(ad_hoc('uwsgi_vassal', dict(name=NAMES, state='absent')), actions=[])
    assert set(everywhere(sites, 'ls /etc/uwsgi/apps-available /etc/uwsgi/apps-enabled /run/uwsgi | grep kind- || true').values()) == set([''])


def test_two_files_for_one_name_are_told(sites):
    everywhere(sites, 'touch /etc/uwsgi/apps-available/twin.ini /etc/uwsgi/apps-available/twin.json')
    try:
        for result in ad_hoc('uwsgi_vassal', dict(name='twin')).values():
            assert result['failed'] and 'twin: there are files for it with the endings .ini, .json' in result['msg'], result
        for result in ad_hoc('uwsgi_vassal_info', dict(name='twin')).values():
            assert result['failed'] and 'twin: there are files for it' in result['msg'], result
        code, output = call(['ansible', ','.join(sites), '-b', '-m', 'uwsgi_vassal_info'])
        assert code == 0 and 'twin: there are files for it with the endings' in ' '.join(output.split()), output
        for result in parse(output).values():
            names = [vassal['name'] for vassal in result['vassals']]
            assert names and 'twin' not in names, result
    finally:
        everywhere(sites, 'rm /etc/uwsgi/apps-available/twin.ini /etc/uwsgi/apps-available/twin.json')


# Debian's uwsgi-emperor

PLAIN = dict(unit='uwsgi-emperor', available_dir='/etc/uwsgi-emperor/vassals', enabled_dir='/etc/uwsgi-emperor/vassals')
LINKS = dict(PLAIN, available_dir='/etc/uwsgi-emperor/vassals-available')
# its vassals have no defaults
SOCKET = '/run/uwsgi-plain/%n.socket'
OWN = {'plugin': 'python3', 'wsgi-file': '/srv/hello/hello.py', 'master': True, 'workers': 2, 'socket': SOCKET, 'env': [u'GREETING=Grüße']}


@pytest.fixture(scope='module')
def debians(sites):
    """Debian's uwsgi-emperor as it is installed, beside the other Emperor: it may not take and delete the runtime directory.

    It runs as www-data, and has a directory of its own for its sockets.
    """
    unit = '/etc/systemd/system/uwsgi-emperor.service.d'
    everywhere(
        sites,
        'install -d -o www-data /run/uwsgi-plain && mkdir -p %s && printf "[Service]\\nRuntimeDirectory=\\n" > %s/beside.conf && '
        'DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends uwsgi-emperor > /dev/null 2>&1 && '
        'mkdir /etc/uwsgi-emperor/vassals-available && systemctl daemon-reload && systemctl restart uwsgi-emperor.service' % (unit, unit),
    )
    yield
    purge = 'systemctl stop uwsgi-emperor.service; apt-get -qq -y purge uwsgi-emperor > /dev/null 2>&1; rm -r %s /etc/uwsgi-emperor; systemctl daemon-reload'
    everywhere(sites, purge % unit)


def guest(layout, *options, **arguments):
    return ad_hoc('uwsgi_vassal', dict(layout, name='guest', **arguments), *options)


def left(sites):
    """The files of the vassal on any host."""
    return ''.join(everywhere(sites, 'ls /etc/uwsgi-emperor/vassals*/guest* 2> /dev/null || true').values())


NOWHERE = dict(OWN, **{'wsgi-file': '/srv/hello/nowhere.py', 'need-app': True})


def test_plain_files_of_debians_uwsgi_emperor_are_driven_through_the_states(debians, sites):
    every(guest(PLAIN, '--check', config=OWN), actions=['write', 'start'])
    up = every(guest(PLAIN, config=OWN, probe=dict(path='/')), actions=['write', 'start'])
    every(guest(PLAIN, config=OWN), actions=[])
    assert pids(every(guest(PLAIN, config=dict(OWN, harakiri=20)), actions=['write', 'reload'])) == pids(up)
    assert pids(every(guest(PLAIN, state='reloaded'), actions=['reload'])) == pids(up)
    assert not set(pids(every(guest(PLAIN, state='restarted'), actions=['restart'])).items()) & set(pids(up).items())
    for key, result in guest(PLAIN, config=NOWHERE, timeout=20).items():
        assert result['failed'] and 'nowhere.py' in result['msg'] and result['vassals'][0]['actions'][-1] == 'rollback', '%s: %s' % (key, result)
    for key, result in ad_hoc('uwsgi_vassal_info', PLAIN).items():
        assert result['emperor']['running'] and result['emperor']['unit'] == 'uwsgi-emperor.service', result
        assert [(one['name'], one['accepting'], one['workers'], one['failures']) for one in result['vassals']] == [('guest', True, 2, None)], result
        told = facts(sites[key], 'guest')['guest']
        assert (told['master'], told['greeting']) == (result['vassals'][0]['pid'], u'Grüße') and '20' in told['harakiri'], told
    for result in guest(PLAIN, state='disabled').values():
        assert result['failed'] and 'would be lost' in result['msg'], result
    every(guest(PLAIN, state='absent'), actions=['unlink', 'stop', 'remove'])
    every(guest(PLAIN, state='absent'), actions=[])
    assert left(sites) == ''


def test_links_for_debians_uwsgi_emperor_are_driven_through_the_states(debians, sites):
    up = every(guest(LINKS, config=OWN, probe=dict(path='/')), actions=['write', 'link', 'start'])
    assert pids(every(guest(LINKS, state='reloaded'), actions=['reload'])) == pids(up)
    assert not set(pids(every(guest(LINKS, state='restarted'), actions=['restart'])).items()) & set(pids(up).items())
    every(guest(LINKS, state='disabled'), actions=['unlink', 'stop'])
    every(guest(LINKS, state='absent'), actions=['remove'])
    assert left(sites) == ''


def test_what_does_not_come_up_as_a_plain_file_leaves_none(debians, sites):
    for key, result in guest(PLAIN, config=NOWHERE, timeout=20).items():
        assert result['failed'] and 'nowhere.py' in result['msg'] and 'its file is gone again' in result['msg'], '%s: %s' % (key, result)
    assert left(sites) == ''


def test_a_plain_file_that_was_there_is_driven_by_either_layout(debians, sites):
    everywhere(sites, 'printf %s > /etc/uwsgi-emperor/vassals/plain.ini', INI % 1 + 'master = true\nsocket = /run/uwsgi-plain/plain.socket\n')
    for layout in PLAIN, LINKS:
        every(ad_hoc('uwsgi_vassal', dict(layout, name='plain')))
        every(ad_hoc('uwsgi_vassal', dict(layout, name='plain')), actions=[])
        every(ad_hoc('uwsgi_vassal', dict(layout, name='plain', state='restarted')), actions=['restart'])
    every(ad_hoc('uwsgi_vassal', dict(LINKS, name='plain', state='absent')), actions=['unlink', 'stop', 'remove'])


def test_an_emperor_that_watches_another_directory_is_told(debians, sites):
    for result in ad_hoc('uwsgi_vassal', dict(unit='uwsgi-emperor', name='hello', state='restarted')).values():
        assert result['failed'] and 'watches /etc/uwsgi-emperor/vassals, not /etc/uwsgi/apps-enabled; set enabled_dir' in result['msg'], result


def test_a_host_whose_defaults_read_no_environment_is_told_how(sites):
    before = dict((name, sites[name].host.check_output('ls -lR /etc/uwsgi')) for name in BY_HAND)
    results = conftest.ad_hoc('uwsgi_vassal', dict(name='hello', env=dict(A='correct-horse')), hosts=tuple(BY_HAND))
    assert sorted(results) == sorted(BY_HAND)
    for key, result in results.items():
        assert result['failed'] and 'correct-horse' not in result['msg'], '%s: %s' % (key, result)
        for words in ('/etc/uwsgi/', 'if-file = /etc/uwsgi/apps-env/%N.ini', 'inherit = /etc/uwsgi/apps-env/%N.ini', 'endif =', 'Nothing was changed'):
            assert words in result['msg'], '%s: %s' % (key, result)
        assert sites[key].host.check_output('ls -lR /etc/uwsgi') == before[key]
