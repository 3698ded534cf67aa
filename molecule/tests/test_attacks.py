# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What another user, or a run that is killed, can do to a host of the role. The attacks are made for real.

The attackers: www-data, as which an application without a user of its own runs (stone); games, the user of another (hello); and
nobody, a user of no group and no application.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import re

import conftest
import pytest

SCENARIOS = ['attacks', 'jessie', 'systemd']

HOST = (conftest.BY_ROLE or [None])[-1]
# Where root opens, makes, changes or removes files by their paths.
DIRECTORIES = (
    '/run/uwsgi', '/run/uwsgi/app', '/run/uwsgi-emperor', '/run/uwsgi-vassal', '/etc/uwsgi', '/etc/uwsgi/apps-available', '/etc/uwsgi/apps-enabled',
    '/var/log/uwsgi', '/var/lib/uwsgi-emperor', '/usr/local/lib/uwsgi-emperor',
)  # fmt: skip
# Puts a link in the place of a socket between root's bind() and root's chown().
RACE = """
import os, sys, time
path, target = sys.argv[1:]
os.symlink(target, path + '.race')
end = time.time() + 15
while time.time() < end:
    try:
        if os.lstat(path).st_uid == 0:
            os.rename(path + '.race', path)
            break
    except OSError:
        pass
"""
# Connects to a socket, and says whether it may.
CONNECT = 'import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])'
LISTEN = 'import os, socket, sys; os.path.exists(sys.argv[1]) and os.unlink(sys.argv[1]); socket.socket(socket.AF_UNIX).bind(sys.argv[1])'


class Attacked(object):
    def __init__(self, site):
        self.site = site
        self.run = site.host.run
        self.check = site.host.check_output

    def as_user(self, user, command, *args):
        """Runs a shell's command as another user."""
        for arg in args:
            command = command.replace('%s', "'%s'" % arg, 1)
        return self.run('su -s /bin/sh -c %s %s', command, user)

    def python(self, user, program, *args):
        quoted = program.replace("'", "'\\''")
        return self.as_user(user, "%s -c '%s' %s" % (conftest.INTERPRETER, quoted, ' '.join(args)))

    def drive(self, *options, **arguments):
        return conftest.ad_hoc('uwsgi_vassal', arguments, *options, hosts=(HOST,))[HOST]

    def wait(self, condition):
        """Returns when a command of the host's succeeds."""
        self.check('sh -c %s', 'for i in $(seq 300); do %s && exit; sleep 0.1; done; exit 1' % condition)

    def kill_master_of_stone(self):
        """www-data kills the master of its own application, which is started again; returns when that answers."""
        master = self.site.facts('stone')['master']
        assert self.as_user('www-data', 'kill -9 %d' % master).rc == 0
        self.wait('curl -sf -o /dev/null -H "Host: stone.localhost" http://127.0.0.1/')
        assert self.site.facts('stone')['master'] != master


@pytest.fixture(scope='module')
def attacked(sites):
    attacked = Attacked(sites[HOST])
    attacked.check('install -d -m 0711 /var/lib/zz-root && install -m 0600 /dev/null /var/lib/zz-root/precious && echo secret > /var/lib/zz-root/precious')
    conftest.drive(dict(name=['hello', 'stone'], state='restarted'), hosts=(HOST,))
    yield attacked
    attacked.check('rm -rf /var/lib/zz-root')
    conftest.drive(dict(name=['hello', 'stone'], state='restarted'), hosts=(HOST,))


def untouched(attacked):
    return attacked.check('stat -c "%U:%G %a" /var/lib/zz-root/precious; cat /var/lib/zz-root/precious; ls /var/lib/zz-root /etc | grep zz-created || true')


@pytest.mark.parametrize('user', ['www-data', 'games', 'nobody'])
def test_only_root_changes_the_directories_in_which_root_opens_files(attacked, user):
    attempts = 'touch $d/x.pid', 'ln -s /var/lib/zz-root/precious $d/x.pid', 'mkfifo $d/x.pid', 'mkdir $d/x.socket', 'rm "$(ls -d $d/* | head -n 1)"'
    tries = ''.join('(%s) 2> /dev/null && echo "$d: %s"; ' % (attempt, attempt.split()[0]) for attempt in attempts)
    result = attacked.as_user(user, 'cd /; for d in %s; do test -d $d && { %s }; done' % (' '.join(DIRECTORIES), tries))
    assert result.stdout == '', result.stdout


@pytest.mark.parametrize('target', ['/var/lib/zz-root/precious', '/etc/zz-created'])
def test_a_link_in_the_place_of_a_pidfile_makes_root_write_nothing(attacked, target):
    before = untouched(attacked)
    attacked.as_user('www-data', 'rm -f /run/uwsgi/stone.pid; ln -s %s /run/uwsgi/stone.pid', target)
    attacked.kill_master_of_stone()
    assert untouched(attacked) == before


def test_a_fifo_in_the_place_of_a_pidfile_keeps_no_application_from_starting(attacked):
    attacked.as_user('www-data', 'rm -f /run/uwsgi/hello.pid; mkfifo /run/uwsgi/hello.pid')
    result = attacked.drive(name='hello', state='restarted', timeout=20)
    assert not result['failed'], result


def test_a_link_in_the_place_of_a_fresh_socket_makes_root_chown_nothing(attacked):
    before = untouched(attacked)
    race = RACE.replace("'", "'\\''")
    attacked.as_user('www-data', "%s -c '%s' /run/uwsgi/stone.socket /var/lib/zz-root/precious > /dev/null 2>&1 &" % (conftest.INTERPRETER, race))
    attacked.kill_master_of_stone()
    assert untouched(attacked) == before


def test_uwsgi_reloads_an_application_by_its_pidfile_which_is_roots(attacked):
    before = attacked.site.facts('hello')
    assert attacked.check('stat -c "%U %a" /run/uwsgi/hello.pid; cat /run/uwsgi/hello.pid').split() == ['root', '644', str(before['master'])]
    attacked.check('uwsgi-core --reload /run/uwsgi/hello.pid')
    command = 'for i in $(seq 300); do [ ! -e /proc/%d ] && exit; sleep 0.1; done; exit 1' % before['pid']
    attacked.check('sh -c %s', command)
    assert attacked.site.facts('hello')['master'] == before['master']


def test_an_application_listens_in_the_place_of_no_other(attacked):
    for user in 'www-data', 'games':
        assert attacked.python(user, LISTEN, '/run/uwsgi/hello.socket').rc != 0
        assert attacked.python(user, LISTEN, '/run/uwsgi/new.socket').rc != 0
    assert attacked.site.get('hello')[0] == 200


def test_the_socket_of_an_application_with_a_user_of_its_own_is_for_itself_and_nginx(attacked):
    master = attacked.site.facts('hello')['master']
    assert attacked.check('ps -o user=,group= -p %s', str(master)).split() == ['games', 'games']
    assert attacked.python('games', CONNECT, '/run/uwsgi/hello.socket').rc == 0
    assert attacked.python('games', CONNECT, '/run/uwsgi/stone.socket').rc != 0
    for name in 'hello', 'stone':
        assert attacked.python('nobody', CONNECT, '/run/uwsgi/%s.socket' % name).rc != 0
    # so that nginx has it
    assert attacked.check('stat -c "%U:%G %a" /run/uwsgi/hello.socket') == 'games:www-data 660'


def test_an_applications_own_directory_is_its_users(attacked):
    config = {'plugin': conftest.PLUGIN, 'wsgi-file': '/srv/hello/hello.py', 'uid': 'games'}
    config.update({'stats': '/run/uwsgi/app/%n/stats', 'master-fifo': '/run/uwsgi/app/%n/fifo'})
    for state in 'enabled', 'restarted', 'reloaded':
        result = attacked.drive(name='own', state=state, config=config)
        assert not result['failed'] and result['vassals'][0]['after']['accepting'], result
    assert attacked.check('stat -c "%n %U %a" /run/uwsgi/app/own /run/uwsgi/app/own/*').splitlines() == [
        '/run/uwsgi/app/own games 711',
        '/run/uwsgi/app/own/fifo games 600',
        '/run/uwsgi/app/own/stats games 660',
    ]
    assert attacked.as_user('www-data', 'touch /run/uwsgi/app/own/x').rc != 0
    # what it made there goes with it, and nothing else
    assert attacked.as_user('games', 'mkdir /run/uwsgi/app/own/d; ln -s /var/lib/zz-root /run/uwsgi/app/own/d/root').rc == 0
    assert not attacked.drive(name='own', state='absent')['failed']
    assert attacked.run('ls -d /run/uwsgi/app/own').rc != 0 and 'secret' in untouched(attacked)


def test_a_fifo_where_only_root_makes_files_is_refused_before_anything_is_changed(attacked):
    result = attacked.drive(name='own', config={'plugin': conftest.PLUGIN, 'wsgi-file': '/srv/hello/hello.py', 'master-fifo': '/run/uwsgi/%n.fifo'})
    assert result['failed'] and not result['changed'] and '/run/uwsgi/app/own/' in result['msg'], result


def own(**options):
    """The configuration of an application whose user is games."""
    return dict({'plugin': conftest.PLUGIN, 'wsgi-file': '/srv/hello/hello.py', 'uid': 'games'}, **dict((k.replace('_', '-'), v) for k, v in options.items()))


@pytest.fixture
def guest(attacked):
    """A directory of games', for an application `own` of it, both gone afterwards."""
    attacked.check('install -d -o games -g games /srv/games')
    yield '/srv/games'
    attacked.check('pkill -u games -f /srv/games/; rm -rf /srv/games /run/systemd/system/uwsgi@own.service.d /var/log/uwsgi/own.log.games')
    if attacked.run('test -e /etc/uwsgi/apps-available/own.ini').rc == 0:
        attacked.drive(name='own', state='absent')


def test_nothing_of_an_applications_environment_is_run_as_root_at_its_start(attacked, guest):
    names = 'chgrp chmod chown cat id install ln mkdir mkfifo rm rmdir sh stat test true'.split()
    attacked.check(
        "printf '#!/bin/sh\n[ $(/usr/bin/id -u) != 0 ] || /usr/bin/touch /etc/zz-created\n' > /srv/games/evil; chmod 755 /srv/games/evil; "
        'cd /srv/games; for name in %s; do ln -s evil $name; done; chown -h games *' % ' '.join(names)
    )
    before = untouched(attacked)
    for env in dict(PATH='/srv/games'), dict(PATH='/srv/games', BASH_ENV='/srv/games/evil', ENV='/srv/games/evil'):
        for state in 'restarted', 'reloaded', 'disabled':
            result = attacked.drive(name='own', config=own(master_fifo='/run/uwsgi/app/%n/fifo'), env=env, state=state)
            assert not result['failed'], result
    assert untouched(attacked) == before


@pytest.mark.parametrize(
    'option, path',
    [('pidfile', 'pid'), ('logto', 'log'), ('logto2', 'log'), ('http-socket', 'socket'), ('socket', ['/run/uwsgi/%n.socket', '/srv/games/socket'])],
)
def test_root_opens_nothing_where_an_application_could_put_a_link(attacked, guest, option, path):
    config = own(**{option: path if isinstance(path, list) else '/srv/games/' + path})
    result = attacked.drive(name='own', config=config)
    assert result['failed'] and not result['changed'] and '/srv/games is not for root alone: it belongs to user 5' in result['msg'], result


@pytest.mark.parametrize(
    'option, value',
    [
        ('include', '/srv/games/more.ini'), ('exec-as-root', '/srv/games/run'), ('hook-as-root', 'exec:/srv/games/run'), ('envdir', '/srv/games/env'),
        ('file-write', '/srv/games/out=text'), ('exec-as-user-atexit', '/srv/games/run'), ('fallback-config', '/srv/games/more.ini'),
        ('exec-as-root', '/bin/sh run'), ('httprouter', '/srv/games/out'), ('spooler', '/srv/games/out/spool'),
    ],
)  # fmt: skip
def test_root_reads_and_runs_nothing_that_an_application_could_change(attacked, guest, option, value):
    attacked.check(
        "cd /srv/games; printf '[uwsgi]\nexec-as-root = touch /etc/zz-created\n' > more.ini; printf '#!/bin/sh\ntouch /etc/zz-created\n' > run; "
        'chmod 755 run; mkdir -p env; ln -sfn /etc/shadow env/KEY; ln -sfn /etc/zz-created out; chown -h games *'
    )
    before = untouched(attacked)
    result = attacked.drive(name='own', config=own(chdir='/srv/games', **{option: value}))
    assert result['failed'] and not result['changed'] and '/srv/games is not for root alone: it belongs to user 5' in result['msg'], result
    assert untouched(attacked) == before


def test_root_runs_nothing_that_a_variable_leads_to_which_is_only_written(attacked, guest):
    attacked.check("printf '#!/bin/sh\ntouch /etc/zz-created\n' > /srv/games/frob; chmod 755 /srv/games/frob")
    before = untouched(attacked)
    result = attacked.drive(name='own', config=own(exec_as_root='frob'), env=dict(PATH='/srv/games:/usr/bin:/bin'))
    assert result['failed'] and not result['changed'] and 'with PATH in the environment' in result['msg'], result
    assert untouched(attacked) == before


def test_nobody_to_whose_directory_a_file_is_linked_keeps_root_from_anything(attacked, guest):
    assert attacked.as_user('games', 'touch /srv/games/al.ini; mkdir -p /srv/games/.al.ini.new/kept').rc == 0
    attacked.check('ln -s /srv/games/al.ini /etc/uwsgi/apps-available/al.ini')
    try:
        result = attacked.drive(name='hello', state='restarted')
        assert not result['failed'], result
        assert attacked.check('stat -c %U /srv/games/.al.ini.new/kept') == 'games'
    finally:
        attacked.check('rm /etc/uwsgi/apps-available/al.ini')


def test_what_others_may_change_is_a_warning_where_it_is_there_already(attacked, guest):
    assert not attacked.drive(name='own', config=own())['failed']
    attacked.check('chown games /etc/uwsgi/apps-available/own.ini')
    assert 'own.ini is not for root alone: it belongs to user 5' in told(dict(name='own', state='restarted'))
    attacked.check('chown root /etc/uwsgi/apps-available/own.ini')
    written_by_hand(attacked, own(pidfile='/srv/games/pid'))
    assert '/srv/games is not for root alone' in told(dict(name='own', state='restarted'))


@pytest.mark.parametrize('access', [dict(mode='0660'), dict(owner='games')], ids=['mode', 'owner'])
def test_who_is_let_write_an_applications_file_is_told(attacked, guest, access):
    for arguments in dict(config=own()), dict():
        told_of = told(dict(dict(arguments, name='own'), **access))
        assert 'Whoever can write there becomes root' in told_of and 'FAILED' not in told_of, told_of
    assert 'Whoever' not in told(dict(name='own', mode='0640', owner='root'))


@pytest.mark.parametrize('option', ['master-as-root', 'drop-after-apps', 'drop-after-init'])
def test_an_application_is_not_loaded_by_root(attacked, guest, option):
    result = attacked.drive(name='own', config=own(**{option: True}))
    assert result['failed'] and not result['changed'] and 'by its %s. Leave that out' % option in result['msg'], result


@pytest.mark.parametrize('umask', ['000', '077'])
def test_an_applications_umask_opens_nothing_of_roots(attacked, guest, umask):
    result = attacked.drive(name='own', config=own(umask=umask, master_fifo='/run/uwsgi/app/%n/fifo'))
    assert not result['failed'], result
    assert attacked.check('stat -c "%U %a" /run/uwsgi/own.pid /run/uwsgi/app /run/uwsgi/app/own').split() == 'root 644 root 755 games 711'.split()
    assert attacked.check('find /run/uwsgi /var/log/uwsgi -user root -perm /022 -not -type l -not -type s').split() == []


def written_by_hand(attacked, config):
    """The administrator writes the file of `own`."""
    lines = ''.join('%s = %s\n' % (key, one) for key, value in config.items() for one in (value if isinstance(value, list) else [value]))
    attacked.check('printf "[uwsgi]\n%s" > /etc/uwsgi/apps-available/own.ini' % lines.replace('%', '%%'))


# An application gives the sockets on which it listens to a process that has left it.
HAND_ON = """
import os, socket
try:
    from _multiprocessing import sendfd
    def give(channel, number):
        sendfd(channel.fileno(), number)
except ImportError:
    def give(channel, number):
        socket.send_fds(channel, [b"x"], [number])

for number in range(3, 64):
    try:
        if socket.fromfd(number, socket.AF_UNIX, socket.SOCK_STREAM).getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            channel = socket.socket(socket.AF_UNIX)
            channel.connect("/srv/games/hand")
            give(channel, number)
    except (OSError, socket.error):
        pass
"""
# That process, which keeps accepting.
TAKE = """
import os, select, socket
try:
    from _multiprocessing import recvfd
    def given(channel):
        return recvfd(channel.fileno())
except ImportError:
    def given(channel):
        return socket.recv_fds(channel, 1, 1)[1][0]

hand = socket.socket(socket.AF_UNIX)
hand.bind("/srv/games/hand")
hand.listen(64)
while True:
    channel = hand.accept()[0]
    taken = socket.fromfd(given(channel), socket.AF_UNIX, socket.SOCK_STREAM)
    if os.fork() == 0:
        open("/srv/games/has", "w").close()
        while True:
            select.select([taken], [], [])
            try:
                asking = taken.accept()[0].recv(20).decode()
                open("/srv/games/taken" + asking, "w").close()
            except (OSError, socket.error):
                pass
"""
# Ends an application, so that it is started again, the moment its file is another one.
KILL = """
import os, subprocess
path = "/etc/uwsgi/apps-available/own.ini"
inode = os.stat(path).st_ino
open("/srv/games/watches", "w").close()
while os.stat(path).st_ino == inode:
    pass
subprocess.call(["pkill", "-KILL", "-u", "games", "-f", "own.ini"])
"""


def as_games(attacked, program, sign):
    """Starts a program of games' in the background, and waits for a sign of it."""
    path = '/srv/games/%s.py' % sign
    attacked.check("cat > %s << 'END'\n%s\nEND\nsu -s /bin/sh -c '%s %s > /dev/null 2>&1 < /dev/null &' games" % (path, program, conftest.INTERPRETER, path))
    attacked.wait('test -e /srv/games/' + sign)


# Connects so often, or until the process of games' has taken a connection. What it takes of earlier ones, which may wait in a socket that was
# replaced since, does not count.
REQUESTS = """
import os, socket, sys
for number in range(int(sys.argv[1])):
    asking = socket.socket(socket.AF_UNIX)
    asking.connect("/run/uwsgi/own.socket")
    asking.sendall(sys.argv[2].encode())
    asking.close()
    if os.path.exists("/srv/games/taken" + sys.argv[2]):
        break
"""
CALLS = iter(range(1000))


def takes(attacked, requests):
    """Whether the process of games' takes one of so many requests."""
    number = str(next(CALLS))
    result = attacked.python('www-data', REQUESTS, str(requests), number)
    assert result.rc == 0, result.stderr
    return attacked.run('test -e /srv/games/taken%s' % number).rc == 0


WAYS = [('module', 'daemon'), ('hand', 'daemon'), ('hand', 'www-data'), ('killed', 'www-data')]
# Its file changes after systemd has looked as whom it is to run.
WAYS += [('late', 'daemon')] * conftest.BY_SYSTEMD


@pytest.mark.parametrize('way, uid', WAYS)
def test_who_was_an_applications_user_has_no_socket_of_it_any_more(attacked, guest, way, uid):
    attacked.check('cat > /srv/games/own.py << "END"\n%s\nEND' % (HAND_ON + ANSWER))
    as_games(attacked, TAKE, 'hand')
    result = attacked.drive(name='own', config=own(wsgi_file='/srv/games/own.py'))
    assert not result['failed'], result
    attacked.wait('test -e /srv/games/has')
    assert takes(attacked, 20000)
    if way == 'killed':
        as_games(attacked, KILL, 'watches')
    if way in ('hand', 'late'):
        written_by_hand(attacked, own(uid=uid) if way == 'hand' else own())
        if way == 'late':
            attacked.check(
                'd=/run/systemd/system/uwsgi@own.service.d; mkdir $d; printf "[Service]\nExecStartPre=%%s\n" '
                '"/bin/sed -i s/^uid.*/uid=%s/ /etc/uwsgi/apps-available/own.ini" > $d/late.conf; systemctl daemon-reload' % uid
            )
        # a start of another user than systemd was told of fails
        assert (attacked.run('systemctl restart uwsgi@own').rc != 0) is (way == 'late')
        attacked.wait('systemctl -q is-active uwsgi@own')
    else:
        result = attacked.drive(name='own', config=own(uid=uid))
        assert not result['failed'], result
    assert not takes(attacked, 50)
    assert attacked.check('stat -c %U /run/uwsgi/own.socket') == uid
    assert attacked.python('games', CONNECT, '/run/uwsgi/own.socket').rc != 0


def test_systemd_keeps_the_socket_of_an_application_open_that_keeps_its_user(attacked, guest):
    inodes, notes = [], []
    for arguments in dict(config=own(uid='daemon')), dict(state='restarted'):
        result = attacked.drive(name='own', **arguments)
        assert not result['failed'], result
        inodes.append(attacked.check('stat -c %i /run/uwsgi/own.socket'))
        notes.append(attacked.run('stat -c %y /run/uwsgi-vassal/user/own/daemon').stdout)
    assert (inodes[0] == inodes[1]) is conftest.BY_SYSTEMD, inodes
    # where no file has changed, the user is not asked for
    assert notes[0] == notes[1]


def test_what_a_previous_user_left_keeps_no_application_from_starting(attacked, guest):
    options = dict(master_fifo='/run/uwsgi/app/%n/fifo', stats='/run/uwsgi/app/%n/stats')
    result = attacked.drive(name='own', config=own(**options))
    assert not result['failed'], result
    assert attacked.as_user('games', 'cd /run/uwsgi/app/own && rm fifo && mkdir fifo && touch fifo/x').rc == 0
    written_by_hand(attacked, own(uid='daemon', **options))
    attacked.check('systemctl restart uwsgi@own')
    assert attacked.check('stat -c "%U %F" /run/uwsgi/app/own/fifo') == 'daemon fifo'


# Has all that is made in a directory opened to its user, whoever makes it there.
LET_IN = """
import os, pwd, struct, sys
nobody, games = 0xFFFFFFFF, pwd.getpwnam("games").pw_uid
entries = (1, 7, nobody), (2, 7, games), (4, 7, nobody), (16, 7, nobody), (32, 7, nobody)
os.setxattr(sys.argv[1], "system.posix_acl_default", struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries))
"""


def test_who_was_an_applications_user_is_let_to_nothing_of_the_next(attacked, guest):
    options = dict(stats='/run/uwsgi/app/%n/stats')
    result = attacked.drive(name='own', config=own(**options))
    assert not result['failed'], result
    if not conftest.INTERPRETER.endswith('2.7'):
        result = attacked.python('games', LET_IN, '/run/uwsgi/app/own')
        assert result.rc == 0, result.stderr
    # what goes while it is looked at
    assert attacked.as_user('games', 'echo "while cd /run/uwsgi/app/own && mv x y || > x; do mv y x; done" > /srv/games/churn').rc == 0
    attacked.check('for i in 1 2; do su -s /bin/sh -c "sh /srv/games/churn" games > /dev/null 2>&1 < /dev/null & done')
    before, log = attacked.check('stat -c %i /run/uwsgi/app/own'), attacked.check('stat -c %i /var/log/uwsgi/own.log')
    result = attacked.drive(name='own', config=own(uid='daemon', **options))
    assert not result['failed'], result
    # which processes of games may have open
    assert attacked.check('stat -c %i /var/log/uwsgi/own.log.games') == log and attacked.check('stat -c %U:%a /var/log/uwsgi/own.log') == 'root:640'
    assert attacked.check('stat -c %U /run/uwsgi/app/own') == 'daemon' and attacked.check('stat -c %i /run/uwsgi/app/own') != before
    assert attacked.python('games', CONNECT, '/run/uwsgi/app/own/stats').rc != 0


def test_who_is_given_an_application_by_hand_gets_it(attacked, guest):
    result = attacked.drive(name='own', config=own())
    assert not result['failed'], result
    written_by_hand(attacked, own(uid='daemon'))
    for actions in ['restart'], []:
        result = attacked.drive(name='own')
        assert not result['failed'] and result['vassals'][0]['actions'] == actions, result
    assert attacked.check('ps -o user= -p %d' % result['vassals'][0]['after']['pid']) == 'daemon'


def told(arguments, module='uwsgi_vassal'):
    """What a call says, with its warnings."""
    return conftest.call(['ansible', HOST, '-b', '-m', module, '-a', json.dumps(arguments)])[1].replace('\n', ' ')


def test_a_socket_elsewhere_is_made_by_the_application_itself(attacked, guest):
    result = attacked.drive(name='own', config=own(socket='/srv/games/socket'))
    assert not result['failed'] and attacked.check('stat -c %U:%G /srv/games/socket') == 'games:games', result


# What each of the attackers' own applications answers, beside what it does.
ANSWER = """
def application(env, start):
    start("200 OK", [])
    return [b"x"]
"""
STATS = """
import os, socket, threading, time
def answer(connection):
    while "KIND" == "drip":
        connection.sendall(b" ")
        time.sleep(0.2)
    while "KIND" == "flood":
        connection.sendall(b" " * 65536)
    connection.sendall(b"[" * 1000000)
def serve():
    if os.path.exists("/run/uwsgi/app/own/stats"):
        os.unlink("/run/uwsgi/app/own/stats")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("/run/uwsgi/app/own/stats")
    listener.listen(16)
    while True:
        connection = listener.accept()[0]
        try:
            answer(connection)
        except (IOError, OSError):
            pass
        connection.close()
thread = threading.Thread(target=serve)
thread.daemon = True
thread.start()
"""


@pytest.mark.parametrize('kind', ['drip', 'flood', 'deep'])
def test_an_applications_own_stats_hold_up_no_look(attacked, guest, kind):
    """The application's own code says them, as its worker: so they are its own, for the kernel."""
    attacked.check('cat > /srv/games/own.py << "END"\n%s\nEND' % (STATS.replace('KIND', kind) + ANSWER))
    # without a master the process that the Emperor starts is the one that listens
    config = own(wsgi_file='/srv/games/own.py', enable_threads='true', master='false', workers='1', master_fifo='/run/uwsgi/app/%n/fifo')
    attacked.drive(name='own', config=dict(config, stats='/run/uwsgi/app/own/other'))
    attacked.check('sed -i "s,app/own/other,app/own/stats," /etc/uwsgi/apps-available/own.ini')
    result = conftest.ad_hoc('uwsgi_vassal_info', dict(name='own'), hosts=(HOST,))[HOST]
    assert not result['failed'] and result['vassals'][0]['requests'] is None, result


ORPHAN = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
"""


@pytest.mark.parametrize('dies', [False, True], ids=['runs', 'dies'])
def test_who_goes_on_to_listen_when_an_application_is_disabled_is_cut_off_and_told(attacked, guest, dies):
    attacked.check('cat > /srv/games/own.py << "END"\n%s\nEND' % (ORPHAN + ANSWER))
    result = attacked.drive(name='own', config=own(wsgi_file='/srv/games/own.py'))
    assert not result['failed'], result
    if dies:
        # each of its starts leaves somebody who listens, and ends
        attacked.check('echo "os.kill(os.getpid(), 9)" >> /srv/games/own.py; kill -KILL %d' % result['vassals'][0]['after']['pid'])
        others = 'ps -u games -o ppid=,args= | grep own.ini | grep -vq "^ *1 "'
        attacked.wait('test $(pgrep -u games -P 1 -x "uwsgi|uwsgi-core" | wc -l) -ge %d && ! { %s; }' % (1 if conftest.BY_SYSTEMD else 3, others))
    said = told(dict(name='own', state='disabled'))
    left = attacked.check('pgrep -u games -P 1 -x "uwsgi|uwsgi-core" || true').split()
    try:
        assert 'CHANGED' in said and attacked.run('test -e /run/uwsgi/own.socket').rc == 1, said
        # a start that was under way has opened a socket of its own
        under_way = dies and '"stop"' in said
        if not conftest.BY_SYSTEMD and not under_way:
            assert left and 'still listens on /run/uwsgi/own.socket' in said and 'process ' + left[0] in said, said
    finally:
        attacked.run('kill -KILL %s' % ' '.join(left))


# Has an application become another program in its own place, which takes no notice of any signal and says to its supervisor that it is up.
BECOME = """
import os, signal, socket, sys, time
if sys.argv[0] != "PROGRAM" and (WHEN):
    for fd in range(3, 64):
        try:
            getattr(os, "set_inheritable", len)(fd, True)
        except (OSError, TypeError):
            pass
    os.execv("PYTHON", ["uwsgi", "PROGRAM"])
if sys.argv[0] == "PROGRAM":
    for number in 1, 2, 3, 10, 12, 15, 44:
        signal.signal(number, signal.SIG_IGN)
    if "UWSGI_EMPEROR_FD" in os.environ:
        os.write(int(os.environ["UWSGI_EMPEROR_FD"]), b"\\1\\5\\21")
    if "NOTIFY_SOCKET" in os.environ:
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\\0", 1))
        notify.send(b"READY=1")
"""


def becomes(attacked, when, program):
    """Makes games' application own.py one that becomes a program of Python's, /srv/games/becomes.py, when an expression of Python's holds."""
    text = BECOME.replace('PROGRAM', '/srv/games/becomes.py').replace('PYTHON', attacked.check('command -v %s' % conftest.INTERPRETER)).replace('WHEN', when)
    for name, rest in ('own', ANSWER), ('becomes', program):
        attacked.check('cat > /srv/games/%s.py << "END"\n%s\nEND' % (name, text + rest))


# Of a process that has ended and is traced its parent learns nothing: no supervisor hears of the end of this master.
TRACED = """
import ctypes
libc, master = ctypes.CDLL(None), os.getpid()
libc.prctl(0x59616d61, ctypes.c_ulong(2 ** 64 - 1), 0, 0, 0)  # PR_SET_PTRACER, PR_SET_PTRACER_ANY
if os.fork() == 0:
    libc.ptrace(0x4206, master, None, None)  # PTRACE_SEIZE
    open("/srv/games/traces", "w").close()
    time.sleep(600)
    os._exit(0)
while not os.path.exists("/srv/games/end"):
    time.sleep(0.1)
os._exit(0)
"""


def test_an_application_is_not_gone_as_long_as_its_supervisor_has_not_seen_its_end(attacked, guest):
    becomes(attacked, 'os.getppid() != 1 or "NOTIFY_SOCKET" in os.environ', TRACED)
    try:
        attacked.drive(name='own', config=own(wsgi_file='/srv/games/own.py'), wait=False)
        attacked.wait('test -e /srv/games/traces')
        attacked.check('touch /srv/games/end')
        attacked.wait('pgrep -u games -r Z')
        for dummy in range(2):
            result = attacked.drive(name='own', state='disabled', timeout=6)
            assert result['failed'] and 'own: after 6 s: processes of it still run' in result['msg'], result
            if not conftest.BY_SYSTEMD:
                assert attacked.run('test -e /run/uwsgi/own.socket').rc, result
    finally:
        attacked.run('pkill -KILL -u games -f /srv/games/becomes.py')
    # its supervisor may have seen the end before the run looks
    for attempt in range(2):
        result = attacked.drive(name='own', state='disabled', timeout=60)
        assert not result['failed'] and not (attempt and result['changed']), result
    assert attacked.run('pgrep -u games -f "own.ini|/srv/games/"').rc, 'some of its processes still run'


def test_the_removal_of_an_application_ends_though_somebody_writes(attacked, guest):
    assert not attacked.drive(name='own', config=own(master_fifo='/run/uwsgi/app/%n/fifo'))['failed']
    writer = (
        "cd /run/uwsgi/app/own; mkdir -p d; cd d; i=0; while [ -e /srv/games/go ]; do i=$((i+1)); : > f$i; done"
    )
    attacked.check('touch /srv/games/go')
    assert attacked.as_user('games', "nohup sh -c '%s' /srv/games/ > /dev/null 2>&1 &" % writer).rc == 0
    attacked.check('for i in $(seq 100); do [ -e /run/uwsgi/app/own/d/f100 ] && exit; sleep 0.1; done; exit 1')
    result = attacked.drive(name='own', state='absent')
    if result['failed']:
        assert '/run/uwsgi/app/own can not be removed' in result['msg'], result
    attacked.check('rm /srv/games/go')
    result = attacked.drive(name='own', state='absent')
    assert not result['failed'] and attacked.run('test -e /run/uwsgi/app/own').rc == 1, result


# What an application tells systemd of itself: that it needs more time, whatever for, or that a child is its main process.
NOTIFIER = """
import os, signal, socket, threading, time

def say(words):
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    address = os.environ['NOTIFY_SOCKET']
    notify.sendto(words.encode(), chr(0) + address[1:] if address.startswith('@') else address)

def delay():
    while True:
        say('EXTEND_TIMEOUT_USEC=60000000')
        time.sleep(0.1)

if 'KIND' == 'delays':
    signal.pthread_sigmask(signal.SIG_BLOCK, set(range(1, signal.NSIG)) - {32, 33})
    threading.Thread(target=delay, daemon=True).start()
else:
    child = os.fork()
    if child:
        say('MAINPID=%d' % child)
    else:
        # only the main process is believed
        while True:
            say('READY=1')
            time.sleep(0.1)
"""


def notifies(attacked, kind):
    """Has the application `own`, which goes on to run, tell systemd things; returns the PID of its master."""
    attacked.check('cat > /srv/games/own.py << "END"\n%s\nEND' % (NOTIFIER.replace('KIND', kind) + ANSWER))
    written_by_hand(attacked, own(wsgi_file='/srv/games/own.py', enable_threads='true'))
    attacked.check('systemctl start uwsgi@own')
    return int(attacked.check('head -n 1 /run/uwsgi/own.pid'))


@pytest.mark.skipif(not conftest.BY_SYSTEMD, reason='an Emperor takes no word of its vassals for its time limits')
def test_an_application_does_not_put_off_its_end(attacked, guest):
    assert attacked.check('systemctl show -p JobRunningTimeoutUSec --value uwsgi@own') == '7min'
    # the limits of the unit, but shorter
    attacked.check(
        'd=/run/systemd/system/uwsgi@own.service.d; mkdir $d; printf "[Unit]\nJobRunningTimeoutSec=4\n[Service]\nTimeoutStopSec=2\n" > $d/short.conf; '
        'systemctl daemon-reload'
    )
    master = notifies(attacked, 'delays')
    result = attacked.run('timeout 60 systemctl stop uwsgi@own')
    assert result.rc == 1 and 'timed out' in result.stderr and attacked.run('test -e /proc/%d' % master).rc == 0, result
    attacked.check('systemctl kill -s KILL uwsgi@own')
    attacked.wait('! test -e /proc/%d' % master)


@pytest.mark.skipif(not conftest.BY_SYSTEMD, reason='an Emperor takes no word of its vassals for which process is the main one')
def test_an_application_does_not_hide_its_master(attacked, guest):
    master = notifies(attacked, 'hides')
    attacked.wait('test "$(systemctl show -p MainPID uwsgi@own)" != MainPID=%d' % master)
    result = conftest.ad_hoc('uwsgi_vassal_info', dict(name='own'), hosts=(HOST,))[HOST]
    assert result['vassals'][0]['pid'] == master and result['vassals'][0]['accepting'], result
    for state, actions in ('enabled', ['link', 'start']), ('restarted', ['restart']), ('disabled', ['unlink', 'stop']):
        result = attacked.drive(name='own', state=state)
        assert not result['failed'] and result['vassals'][0]['actions'] == actions, result
    assert attacked.run('test -e /proc/%d' % master).rc != 0


# A process that has no workers.
IDLE = """
while True:
    time.sleep(60)
"""


def test_an_application_without_workers_keeps_the_role_from_nothing(attacked, guest):
    becomes(attacked, 'os.path.exists("/srv/games/idles")', IDLE)
    config = own(wsgi_file='/srv/games/own.py', workers='1')
    for workers in '1', '2':
        result = attacked.drive(name='own', config=dict(config, workers=workers))
        assert not result['failed'] and result['changed'], result
    master = result['vassals'][0]['after']['pid']
    attacked.check('touch /srv/games/idles; kill -HUP %d' % master)
    attacked.wait('pgrep -f /srv/games/[b]ecomes.py')
    attacked.wait('test -z "$(pgrep -P %d)"' % master)
    found = conftest.ad_hoc('uwsgi_vassal_info', dict(name='own'), hosts=(HOST,))[HOST]['vassals'][0]
    assert (found['running'], found['workers'], found['stale']) == (True, 0, None), found
    site = dict(emperor_hosts=HOST, emperor_vassals=dict(late=dict(config=own())))
    try:
        conftest.playbook('uwsgi.emperor.site', site)
        assert not attacked.drive(name='late', state='absent')['failed']
        # with new defaults it does not come up, which is said when all else is done
        site.update(emperor_defaults={'harakiri': 66}, __emperor_timeout=40)
        conftest.playbook('uwsgi.emperor.site', site, fails='own: it did not come up')
        found = conftest.ad_hoc('uwsgi_vassal_info', dict(name=['late', 'stone']), hosts=(HOST,))[HOST]['vassals']
        assert [(one['accepting'], one['stale']) for one in found] == [(True, False)] * 2, found
        attacked.check('grep late /etc/nginx/conf.d/uwsgi-vassals.conf')
    finally:
        attacked.run('kill -KILL %d; rm /srv/games/idles' % master)
        attacked.drive(name=['late', 'own'], state='absent')
        conftest.playbook('uwsgi.emperor.site', dict(emperor_hosts=HOST))


# Has requests say what uWSGI says of an application that it could not load.
CLIENT = """
import os, socket, struct, time
variable = struct.pack("<H", 14) + b"REQUEST_METHOD" + struct.pack("<H", 3) + b"GET"
open("/srv/games/asks", "w").close()
while os.path.exists("/srv/games"):
    try:
        asking = socket.socket(socket.AF_UNIX)
        asking.connect("/run/uwsgi/own.socket")
        asking.sendall(struct.pack("<BHB", 0, len(variable), 0) + variable)
        asking.recv(10)
    except (OSError, socket.error):
        pass
    time.sleep(0.02)
"""
ECHO = """
import os, sys
def application(env, start):
    print("Not Found: / - unable to load app 0 (mountpoint='') (callable not found or import error)")
    print("unable to load app 0 (mountpoint='') (callable not found or import error)")
    print("unable to load app 0 (mountpoint='/zz') (callable not found or import error)")
    print("spawned uWSGI master process (pid: %d)" % os.getppid())
    print("*** no app loaded. going in full dynamic mode ***")
    sys.stdout.flush()
    start("404 Not Found", [])
    return [b"x"]
"""


@pytest.mark.parametrize('lazy, mounted', [('false', False), ('true', True)], ids=['', 'lazy and mounted'])
def test_a_request_does_not_say_that_the_application_is_missing(attacked, guest, lazy, mounted):
    attacked.check('cat > /srv/games/own.py << "END"\n%s\nEND' % ECHO)
    config = own(wsgi_file='/srv/games/own.py', lazy_apps=lazy)
    if mounted:
        config['mount'] = '/=' + config.pop('wsgi-file')
    result = attacked.drive(name='own', config=config)
    assert not result['failed'], result
    as_games(attacked, CLIENT, 'asks')
    attacked.wait('grep -q "unable to load app" /var/log/uwsgi/own.log')
    for arguments in dict(config=dict(config, workers='3')), dict(state='reloaded'), dict(state='restarted'):
        result = attacked.drive(name='own', **arguments)
        assert not result['failed'] and result['changed'], result
    for verb in 'reload', 'restart':
        attacked.check('systemctl %s uwsgi@own' % verb)
    # what is missing is still told
    result = attacked.drive(name='own', config=dict(config, callable='nosuch'), timeout=15)
    assert result['failed'] and ('unable to find "application" callable' if mounted else 'unable to load app 0') in result['msg'], result


# Puts a line into a file that uWSGI would run, and takes it out again, in turn.
FLICKER = """
import os, time
path = "/etc/uwsgi/apps-available/own.ini"
at = open(path).read().index("xec-asap") - 1
number = os.open(path, os.O_WRONLY)
open("/srv/games/flickers", "w").close()
while os.path.exists("/srv/games"):
    for char, seconds in (b"e", 0.0005), (b"#", 0.0015):
        os.lseek(number, at, 0)
        os.write(number, char)
        time.sleep(seconds)
"""


def test_a_file_that_changes_while_it_is_looked_at_runs_nothing(attacked, guest):
    written_by_hand(attacked, dict(own(), **{'#xec-asap': 'touch /etc/zz-created'}))
    attacked.check('chown games /etc/uwsgi/apps-available/own.ini')
    as_games(attacked, FLICKER, 'flickers')
    before = untouched(attacked)
    for dummy in range(5):
        result = conftest.ad_hoc('uwsgi_vassal_info', dict(name='own'), hosts=(HOST,))[HOST]
        assert not result['failed'], result
    assert untouched(attacked) == before


FORGER = """
import socket, threading, time
def forge():
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    for dummy in range(600):
        for line in "%s".split("\\n"):
            journal.sendto(b"MESSAGE=" + line.encode() + b"\\n", "/run/systemd/journal/socket")
        time.sleep(0.05)
thread = threading.Thread(target=forge)
thread.daemon = True
thread.start()
"""


def test_another_application_puts_no_words_into_the_mouth_of_one_that_dies(attacked, guest):
    """games writes to the journal what looks like a start of an application of www-data's, from within the same unit."""
    code = FORGER % 'getting INI configuration from other.ini\\nRuntimeError: forged' + ANSWER
    attacked.check('cat > /srv/games/own.py << "END"\n%s\nEND' % code)
    try:
        # what dies before its log is open has only the journal
        config = {'plugin': conftest.PLUGIN, 'wsgi-file': '/srv/hello/hello.py', 'logto': '/nonexistent/log'}
        attacked.drive(name='own', config=own(wsgi_file='/srv/games/own.py', enable_threads='true', lazy_apps='true'))
        attacked.check('for i in $(seq 100); do journalctl -q -u "uwsgi*" | grep -q "RuntimeError: forged" && exit; sleep 0.1; done; exit 1')
        result = attacked.drive(name='other', config=config)
        assert result['failed'] and 'forged' not in result['msg'] and '/nonexistent/log' in result['msg'], result
    finally:
        attacked.drive(name='other', state='absent')


def test_no_user_holds_up_the_management_of_a_host(attacked):
    places = '/etc/uwsgi/apps-enabled /run/uwsgi-vassal /run/uwsgi-vassal/lock'
    holder = attacked.as_user('nobody', 'for place in %s; do flock -x $place sleep 60 > /dev/null 2>&1 & done' % places)
    assert holder.rc == 0
    try:
        assert not attacked.drive(name='hello', state='restarted', timeout=10)['failed']
    finally:
        attacked.run('pkill -u nobody -x sleep')


def test_a_run_that_waits_says_for_whom(attacked):
    holding = (
        'import fcntl, os, time; f = open("/run/uwsgi-vassal/lock", "r+"); fcntl.flock(f, 2); '
        'f.write("%d %d\\n" % (os.getpid(), time.time())); f.flush(); time.sleep(60)'
    )
    attacked.check("nohup %s -c '%s' > /dev/null 2>&1 < /dev/null & echo" % (conftest.INTERPRETER, holding))
    pid = attacked.check('for i in $(seq 100); do pgrep -f "^[^ ]*python[^ ]* -c import fcntl" && break; sleep 0.1; done').split()[0]
    attacked.check('for i in $(seq 100); do grep -q %s /run/uwsgi-vassal/lock && break; sleep 0.1; done' % pid)
    try:
        result = attacked.drive(name='hello', state='restarted', timeout=2)
        assert result['failed'] and 'process %s, since 2' % pid in result['msg'] and 'nothing was changed' in result['msg'], result
        assert '/run/uwsgi-vassal/lock' in result['msg'], result
    finally:
        attacked.check('kill %s' % pid)


# What the module changes, by the paths of what it changes: strace kills it as it is about to.
MARK = '/run/uwsgi-vassal/etc:uwsgi:apps-enabled/'
PATHS = (
    '/etc/uwsgi/apps-available/.hello.ini.new', '/etc/uwsgi/apps-available/hello.ini', '/etc/uwsgi/apps-enabled/.hello.ini.link',
    '/etc/uwsgi/apps-enabled/hello.ini', MARK + 'hello.ini', MARK + 'hello.ini.new',
)  # fmt: skip
KILLER = """#!/bin/sh
exec strace -qq -o /dev/null %s -e inject=%s:signal=KILL:when=%d %s "$@"
"""


@pytest.fixture(scope='module')
def strace(attacked):
    if attacked.run('command -v strace').rc:
        pytest.skip('there is no strace')
    content = attacked.check('cat /etc/uwsgi/apps-available/hello.ini')
    yield
    conftest.drive(dict(name='hello', content=content), hosts=(HOST,))


@pytest.mark.parametrize(
    'state, call',
    [('disabled', 'symlink'), ('disabled', 'rename'), ('restarted', 'fchmod'), ('restarted', 'rename'), ('restarted', 'unlink'), ('restarted', 'kill')],
)
def test_a_run_that_is_killed_is_made_up_for_by_the_next(attacked, strace, state, call):
    """From an application that is disabled, and from one that is to be restarted with what was written."""
    for number in range(1, 30):
        greeting = '%s %s %d' % (state, call, number)
        task = dict(name='hello', config={'plugin': conftest.PLUGIN, 'wsgi-file': '/srv/hello/hello.py', 'uid': 'games', 'env': ['GREETING=' + greeting]})
        conftest.drive(dict(name='hello', state='disabled' if state == 'disabled' else 'enabled'), hosts=(HOST,))
        paths = '' if call == 'kill' else ' '.join('-P ' + path for path in PATHS)
        killer = KILLER % (paths, call, number, conftest.INTERPRETER)
        attacked.check("cat > /usr/local/bin/killer << 'END'\n%s\nEND\nchmod 0755 /usr/local/bin/killer" % killer)
        killed = attacked.drive('-e', 'ansible_python_interpreter=/usr/local/bin/killer', **task)['failed']
        result = attacked.drive(**task)
        assert not result['failed'], '%s: %s' % (greeting, result)
        assert attacked.site.facts('hello')['greeting'] == greeting
        names = '-name ".*.new" -o -name ".*.link" -o -name "uwsgi-vassal.*" -o -name "hello.ini.new"'
        left = attacked.check('find /etc/uwsgi /run/uwsgi-vassal /run -maxdepth 2 \\( ' + names + ' \\)')
        assert left == '' and attacked.run('test -e %s', MARK + 'hello.ini').rc != 0, greeting
        if not killed:
            break
    assert not killed


# What a drop-in names for an application, and its user may write to: a module that Python loads when it starts, and programs.
THEIRS = """
mkdir -p /srv/theirs/bin /etc/systemd/system/uwsgi@hello.service.d
echo 'import os; os.geteuid() or open("/etc/zz-created-by-python", "w").close()' > /srv/theirs/sitecustomize.py
for name in systemctl journalctl timeout; do
  printf '#!/bin/sh\\ntouch /etc/zz-created-by-%s; PATH=/usr/bin:/bin; exec %s "$@"\\n' $name $name > /srv/theirs/bin/$name
done
chmod 0755 /srv/theirs/bin/*
chown -R games /srv/theirs
printf '[Service]\\nEnvironment=PYTHONPATH=/srv/theirs PATH=/srv/theirs/bin:/usr/bin:/bin\\n' > /etc/systemd/system/uwsgi@hello.service.d/theirs.conf
systemctl daemon-reload
"""


def test_the_environment_of_an_application_has_root_run_nothing_of_its_users(attacked):
    before = untouched(attacked)
    attacked.check('sh -ec %s', THEIRS)
    try:
        for verb in 'restart', 'reload', 'stop', 'start':
            attacked.check('systemctl %s uwsgi@hello', verb)
        assert attacked.site.get('hello')[0] == 200
        assert untouched(attacked) == before
    finally:
        attacked.check('rm -r /srv/theirs /etc/systemd/system/uwsgi@hello.service.d; rm -f /etc/zz-created-*; systemctl daemon-reload')


# The name and the arguments of a daemon of Debian's init script, with all else that any user can give a process: files that look like
# root's in /proc, as those of a daemon that was root do (PR_SET_DUMPABLE), and the log, as that may be named though not be opened (O_PATH).
FORGED = """
import ctypes, os, sys, time
open('/proc/self/comm', 'w').write('uwsgi')
if os.getuid() == 65534:
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
    os.dup2(os.open(sys.argv[2], 0o10000000), 2)
time.sleep(600)
"""
DAEMON = '%s /tmp/daemon.py --daemonize /var/log/uwsgi/app/%s.log'
# Names of files that are two for who takes a line for a name; the second one is that of a file in the directory in which root works.
LEFT = ['/run/uwsgi/zz-x\nzz-precious', '/run/uwsgi/app/zz-x\nzz-precious']


class Repaired(object):
    """A host of an older release, on which applications left what they like, after a check and a run of the role."""

    def __init__(self, attacked):
        self.attacked = attacked
        # a task works in this directory
        self.beside = '%s/zz-precious' % conftest.call(['ansible', HOST, '-b', '-m', 'command', '-a', 'pwd'])[1].split()[-1]

    def plant(self):
        check, as_user = self.attacked.check, self.attacked.as_user
        check('echo secret > %s', self.beside)
        check('mkdir -p /run/uwsgi/app && chgrp www-data /run/uwsgi && chmod 2775 /run/uwsgi && chown www-data /run/uwsgi/app')
        if not conftest.INTERPRETER.endswith('2.7'):
            for user, path in ('root', '/run/uwsgi'), ('www-data', '/run/uwsgi/app'):
                assert self.attacked.python(user, LET_IN, path).rc == 0
            # what was made there since
            self.attacked.drive(name='stone', state='disabled')
            self.attacked.drive(name='stone')
            self.attacked.wait('curl -sf -o /dev/null -H "Host: stone.localhost" http://127.0.0.1/')
        check('chown www-data /var/log/uwsgi')
        assert as_user('www-data', 'ln -s /etc/zz-created /var/log/uwsgi/zz-link.log').rc == 0
        for path in LEFT:
            assert as_user('www-data', 'touch %s', path).rc == 0
        assert as_user('www-data', 'mkdir -p /run/uwsgi/app/zz-own /run/uwsgi/zz-tree/a; ln -s /var/lib/zz-root /run/uwsgi/zz-tree/a/root').rc == 0
        assert self.attacked.python('www-data', LISTEN, '/run/uwsgi/zz-guest.socket').rc == 0
        check('cat > /tmp/daemon.py << "END"\n%s\nEND' % FORGED)
        check('install -d -m 0755 /var/log/uwsgi/app; umask 027; touch /var/log/uwsgi/app/zz-one.log /var/log/uwsgi/app/zz-two.log')
        start = 'su -s /bin/sh -c "exec %s" %s < /dev/null > %s 2>&1 &'
        for name, user, output in ('zz-one', 'nobody', '/dev/null'), ('zz-two', 'games', '/var/log/uwsgi/app/zz-two.log'):
            check(start % (DAEMON % (conftest.INTERPRETER, name), user, output))
            check('for i in $(seq 100); do pgrep -x uwsgi -u %s > /dev/null && exit; sleep 0.1; done; exit 1' % user)

    def run(self):
        self.daemons = self.seen()
        self.checked = self.play('--check')
        self.after_check = self.left()
        self.played = self.play()
        self.again = self.play('--check')

    def play(self, *options):
        return conftest.playbook('uwsgi.emperor.site', dict(emperor_hosts=HOST), *options)

    def left(self):
        return self.attacked.check('find /run/uwsgi -mindepth 1 -print0').split('\0')

    def seen(self):
        """The names of the daemons that the migration would see, as it refuses them; nothing else is there to take over."""
        found = conftest.ad_hoc('uwsgi_migration_info', {}, hosts=(HOST,))[HOST]
        return [line.split(':')[0] for line in found['refusals'] if ': its daemon (process ' in line]

    def runs(self, name):
        return self.attacked.run('pgrep -fx %s', DAEMON % ('[^ ]*python[^ ]*', name)).rc == 0

    def clean(self):
        self.attacked.run('pkill -f "^[^ ]*python[^ ]* /tmp/daemon.py"')
        self.attacked.check('rm -rf %s /tmp/daemon.py /var/log/uwsgi/app/zz-* /run/uwsgi/zz-* /run/uwsgi/app/zz-*', self.beside)


@pytest.fixture(scope='module')
def repaired(attacked):
    if conftest.BY_SYSTEMD:
        pytest.skip('the role does that whoever supervises; the scenario attacks has it')
    repaired = Repaired(attacked)
    try:
        repaired.plant()
        repaired.run()
        yield repaired
    finally:
        repaired.clean()


def test_check_mode_tells_that_something_is_left_and_removes_nothing(repaired):
    assert set(LEFT) <= set(repaired.after_check)
    for task in 'Remove what root must not open in the runtime directory', 'Remove what is there beside these directories':
        assert re.search(task + r'\] \*+\nchanged: ', repaired.checked), repaired.checked


def test_what_applications_left_is_removed_by_its_whole_name(repaired, attacked):
    left = repaired.left()
    assert not set(LEFT + ['/run/uwsgi/zz-tree']) & set(left)
    # by which root would write where its maker says
    assert attacked.run('ls -d /var/log/uwsgi/zz-link.log').rc != 0 and attacked.check('stat -c "%U %a" /var/log/uwsgi') == 'root 755'
    # those of applications that run since may be such a socket, and have such a directory
    assert set(['/run/uwsgi/zz-guest.socket', '/run/uwsgi/app/zz-own']) <= set(left)
    assert attacked.check('cat %s /var/lib/zz-root/precious', repaired.beside).split() == ['secret', 'secret']
    assert attacked.check('stat -c "%U %a" /run/uwsgi /run/uwsgi/app').splitlines() == ['root 755'] * 2


@pytest.mark.skipif(conftest.INTERPRETER.endswith('2.7'), reason='Python 2.7 can neither give nor see an ACL')
def test_whom_an_application_has_let_into_the_runtime_directory_is_let_to_nothing_that_root_makes(repaired, attacked):
    assert re.search(r'Take the ACLs away\] \*+\nchanged: ', repaired.checked) and 'Take the ACLs away' in repaired.played
    # and nginx has what it had
    assert attacked.check('stat -c %a /run/uwsgi/stone.socket') == '660' and attacked.site.get('stone')[0] == 200
    left = (
        'import glob, os; paths = ["/run/uwsgi"] + glob.glob("/run/uwsgi/*"); '
        'print([path for path in paths for name in os.listxattr(path) if "acl" in name])'
    )
    assert attacked.check("%s -c '%s'" % (conftest.INTERPRETER, left)) == '[]'


def test_nobody_passes_for_a_daemon_of_the_init_script(repaired):
    assert repaired.runs('zz-one')
    assert repaired.daemons == ['zz-two'] and repaired.seen() == []
    assert repaired.again.count('changed=0 ') == 1, repaired.again


def test_a_daemon_that_was_started_by_hand_is_ended(repaired):
    assert 'Hand over from what ran so far' in repaired.played and not repaired.runs('zz-two')
