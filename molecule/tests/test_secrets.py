# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What other users of a host, and those who read a run's output, may learn of an application's configuration and of its env."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
from concurrent.futures import ThreadPoolExecutor

import conftest
import pytest

SCENARIOS = ['attacks']

# one is enough, as the role does the same on each
HOSTS = tuple(conftest.BY_ROLE[-1:])
SECRET = 'correct-horse-battery'
ANOTHER = 'Tr0ub4dor&3'
CONFIG = {'plugin': conftest.PLUGIN, 'wsgi-file': '/srv/secrets.py', 'need-app': True, 'uid': 'games', 'gid': 'games'}
FILE = '/etc/uwsgi/apps-available/guest.ini'
ENV = '/etc/uwsgi/apps-env/guest.ini'
# Does not start unless its variables are what the test says; it tells its log one of them and, if it should, dies of another.
APPLICATION = """
import io, json, os, sys
env = getattr(os, 'environb', os.environ)
with io.open('/srv/secrets.json', encoding='utf-8') as handle:
    for name, value in json.load(handle).items():
        found = env.get(name.encode('ascii'))
        assert found == (value if value is None else value.encode('utf-8')), '%s is %r' % (name, found)
sys.stderr.write('the password is %s\\n' % os.environ.get('PASSWORD'))
if 'FAILS' in os.environ:
    raise ValueError('can not log in with ' + os.environ['PASSWORD'])

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'']
"""
# What uWSGI makes something else of, in one file or another.
AWKWARD = [
    '%', '%%', '100%', '%n', '%(uid)', '%(nosuch)', '%(_)', '%(_', '$(HOME)', '@(/etc/passwd)', '@(exec://touch /run/executed)', '%[',
    '  both ends  ', 'a tab\t', ' ', '%(_)%(uid) %%(_) ', '"double" and \'single\'', '# no comment', '; neither', 'a=b=c', 'back\\slash\\n',
    u'Gr\u00fc\u00dfe \u7687\u5e1d \U0001f451', u'\u2028', '', '[uwsgi]', 'endif =', 'x' * 5000,
]  # fmt: skip
LITERALLY = dict(('LITERAL_%d' % number, value) for number, value in enumerate(AWKWARD))


def ad_hoc(module, arguments, *options):
    return conftest.ad_hoc(module, arguments, *options, hosts=HOSTS)


def drive(**arguments):
    """The entries of the application, by host."""
    return dict((key, result['vassals'][0]) for key, result in conftest.drive(dict(name='guest', **arguments), HOSTS).items())


def everywhere(sites, command, *args):
    with ThreadPoolExecutor(len(HOSTS)) as pool:
        return dict(zip(HOSTS, pool.map(lambda key: sites[key].host.check_output(command, *args), HOSTS)))


def expect(sites, env):
    """Has the application start with these variables alone; None stands for one that is not set."""
    everywhere(sites, "printf '%%s' %s > /srv/secrets.json", json.dumps(env))


def access(sites, path=FILE):
    return set(everywhere(sites, 'stat -c "%%a %%U %%G" %s', path).values())


def readers(sites, path):
    """Which of two users, one of the application's group and one of none, can read a file."""
    tries = 'for user in games nobody; do if su -s /bin/sh -c "cat %s > /dev/null" $user; then echo $user; fi 2> /dev/null; done'
    return set(everywhere(sites, tries % path).values())


@pytest.fixture(scope='module', autouse=True)
def application(sites):
    yield
    drive(state='absent')
    everywhere(sites, 'test ! -e %s', ENV)


@pytest.fixture(autouse=True)
def guest(sites):
    """The application runs with one variable, whatever a test did to it before."""
    everywhere(sites, "printf '%%s' %s > /srv/secrets.py", APPLICATION)
    expect(sites, {})
    everywhere(sites, 'test ! -e %s || { chown root:root %s && chmod 644 %s; }', FILE, FILE, FILE)
    drive(config=CONFIG, env=dict(PASSWORD=SECRET))


def test_what_the_module_writes_root_and_the_applications_group_can_read(sites):
    for path in FILE, ENV:
        assert access(sites, path) == set(['640 root games'])
        assert readers(sites, path) == set(['games'])
    # it reads them again as its user
    for key, entry in drive(state='reloaded').items():
        assert entry['actions'] == ['reload'] and entry['before']['pid'] == entry['after']['pid'], '%s: %s' % (key, entry)


def test_a_file_that_others_can_read_is_closed_and_its_application_left_alone(sites):
    everywhere(sites, 'chgrp root %s %s; chmod 644 %s %s', FILE, ENV, FILE, ENV)
    for options, actions in (('--check', '--diff'), ['chmod']), ((), ['chmod']), ((), []):
        for key, result in ad_hoc('uwsgi_vassal', dict(name='guest', config=CONFIG), *options).items():
            entry = result['vassals'][0]
            assert entry['actions'] == actions and entry['before'] == entry['after'], '%s: %s' % (key, entry)
    assert access(sites) == access(sites, ENV) == set(['640 root games'])


def test_a_file_that_root_has_closed_stays_so_and_a_restart_stands_for_the_reload(sites):
    everywhere(sites, 'chown root:root %s; chmod 600 %s', FILE, FILE)
    for key, entry in drive(config=CONFIG).items():
        assert entry['actions'] == [], '%s: %s' % (key, entry)
    for key, entry in drive(state='reloaded').items():
        assert entry['actions'] == ['restart'] and entry['after']['accepting'], '%s: %s' % (key, entry)
    for key, entry in drive(config=dict(CONFIG, workers=1)).items():
        assert entry['actions'] == ['write', 'restart'], '%s: %s' % (key, entry)
    assert access(sites) == set(['600 root root'])


def test_a_file_of_a_package_keeps_its_access_unless_another_is_asked_for(sites):
    everywhere(sites, 'chmod 644 %s', FILE)
    assert all(entry['actions'] == [] for entry in drive().values())
    assert all(entry['actions'] == ['chmod'] for entry in drive(mode='u=rw,g=,o=', owner='games').values())
    assert access(sites) == set(['600 games games'])
    assert all(entry['actions'] == ['chmod'] for entry in drive(mode='0640', owner='root', group='www-data').values())
    assert access(sites) == set(['640 root www-data'])


@pytest.mark.parametrize('option, value', [('owner', 'nosuch'), ('group', 'nosuch'), ('mode', 'rw-r'), ('mode', '99')])
def test_an_access_that_can_not_be_is_told_before_anything_is_done(sites, option, value):
    for key, result in ad_hoc('uwsgi_vassal', {'name': 'guest', 'config': dict(CONFIG, workers=7), option: value}).items():
        assert result['failed'] and value in result['msg'] and 'Nothing was changed' in result['msg'], '%s: %s' % (key, result)
    assert set(everywhere(sites, 'grep -c workers %s || true', FILE).values()) == set(['0'])


def test_the_application_sees_each_value_as_it_was_given(sites):
    expect(sites, LITERALLY)
    for state in 'enabled', 'reloaded', 'restarted':
        drive(state=state, env=LITERALLY)
    assert all(entry['actions'] == [] for entry in drive(env=LITERALLY).values())
    everywhere(sites, 'test ! -e /run/executed')


@pytest.mark.parametrize('ending', ['yml', 'json', 'xml'])
def test_an_application_has_its_variables_whatever_the_format_of_its_file(sites, ending):
    if set(everywhere(sites, 'uwsgi-core --help | grep -c -- --%s || true', ending.replace('yml', 'yaml')).values()) == set(['0']):
        pytest.skip('no uWSGI here reads it')
    options = [(key, 'true' if value is True else value) for key, value in CONFIG.items()]
    text = dict(
        yml='uwsgi:\n' + ''.join('  %s: %s\n' % option for option in options),
        json=json.dumps(dict(uwsgi=dict(options))),
        xml='<uwsgi>%s</uwsgi>' % ''.join('<%s>%s</%s>' % (key, value, key) for key, value in options),
    )[ending]
    drive(state='absent')
    everywhere(sites, "printf '%%s' %s > %s", text, FILE.replace('ini', ending))
    expect(sites, LITERALLY)
    for state in 'enabled', 'reloaded':
        drive(state=state, env=LITERALLY)
    drive(state='absent')


def test_other_variables_are_a_restart_and_none_take_the_file_away(sites):
    for env, actions in (
        (dict(PASSWORD=SECRET), []),
        (dict(PASSWORD=ANOTHER, COUNT=3, DEBUG=True), ['env', 'restart']),
        (dict(PASSWORD=ANOTHER), ['env', 'restart']),
        (None, []),
        ({}, ['env', 'restart']),
        ({}, []),
    ):
        given = dict((key, {3: '3', True: 'true'}.get(value, value)) for key, value in (env or {}).items())
        expect(sites, {} if env is None else dict(dict(PASSWORD=None, COUNT=None, DEBUG=None), **given))
        arguments = dict(name='guest', config=CONFIG, **({} if env is None else dict(env=env)))
        for options in ['--check'], []:
            for key, result in ad_hoc('uwsgi_vassal', arguments, *options).items():
                assert not result['failed'] and result['vassals'][0]['actions'] == actions, '%s: %s' % (key, result)
    everywhere(sites, 'test ! -e %s', ENV)


@pytest.mark.parametrize(
    'name, value', [('A B', SECRET), ('1A', SECRET), ('A=B', SECRET), ('UWSGI_WORKERS', SECRET), ('A', SECRET + '\n'), ('A', [SECRET]), ('A', None)]
)
def test_a_variable_that_can_not_be_is_named_and_its_value_is_not(sites, name, value):
    for key, result in ad_hoc('uwsgi_vassal', dict(name='guest', env={name: value}), '-vvv').items():
        assert result['failed'] and name in result['msg'] and 'Nothing was changed' in result['msg'], '%s: %s' % (key, result)
        assert SECRET not in json.dumps(result)


def output(env, arguments, *options):
    """What a call says as loudly as it can. The variables come from where a vault has them: Ansible itself shows a failed task's source."""
    command = ['ansible', ','.join(HOSTS), '-b', '-m', 'uwsgi_vassal', '-a', json.dumps(arguments), '-vvv', '--diff']
    return conftest.call(command + ['-e', json.dumps(dict(vault=env))] + list(options))


def test_no_output_no_journal_and_no_other_user_has_a_value(sites):
    expect(sites, dict(PASSWORD=ANOTHER))
    whole = ''
    for number, arguments in (
        ('1', dict(name='guest', env='{{ vault }}')),
        ('1', dict(name='guest', state='reloaded')),
        ('2', dict(vassals=dict(guest=dict(env='{{ vault }}', config=CONFIG)))),
        ('2', dict(vassals=dict(guest=dict(enviroment='{{ vault }}')))),
    ):
        for options in ['--check'], []:
            code, said = output(dict(PASSWORD=ANOTHER, NUMBER=number), arguments, *options)
            assert code == 0 or 'has no option enviroment' in said, said
            whole += said
    assert 'PASSWORD = ********' in whole and 'NUMBER = ******** (changed)' in whole
    assert SECRET not in whole and ANOTHER not in whole, whole
    # no other text is blotted out because it is like a value
    assert '"pid": ' in whole and '"name": "guest"' in whole
    for key, said in everywhere(sites, 'journalctl -q --no-pager; su -s /bin/sh -c "ps auxe; cat /proc/[0-9]*/environ" nobody 2> /dev/null; true').items():
        assert 'uwsgi' in said, said
        assert SECRET not in said and ANOTHER not in said, '%s: %s' % (key, said)


def test_an_application_that_dies_with_a_value_on_its_lips_is_shown_without_it_and_has_its_former_ones(sites):
    expect(sites, {})
    before = drive()
    code, said = output(dict(PASSWORD=ANOTHER, FAILS='1'), dict(name='guest', env='{{ vault }}'))
    assert code != 0 and 'can not log in with ********' in said and 'the password is ********' in said, said
    assert SECRET not in said and ANOTHER not in said, said
    assert 'Its previous environment is back and runs again' in said, said
    expect(sites, dict(PASSWORD=SECRET, FAILS=None))
    for key, entry in drive(env=dict(PASSWORD=SECRET)).items():
        assert entry['actions'] == [] and entry['after']['pid'] != before[key]['after']['pid'], '%s: %s' % (key, entry)
    # who asks systemctl is told no more
    everywhere(sites, "echo 'raise ValueError(os.environ[\"PASSWORD\"])' >> /srv/secrets.py; systemctl restart uwsgi@guest || true")
    for key, said in everywhere(sites, 'journalctl -q --no-pager; systemctl status uwsgi@guest || true').items():
        assert SECRET not in said and ANOTHER not in said, '%s: %s' % (key, said)
