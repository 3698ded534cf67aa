# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures on the benchmark's host, and prints what it saw as JSON.

meter.py load HOW               a load through nginx, and how long nobody listens on the vassal's socket meanwhile
meter.py in-flight HOW          slow requests through nginx, one after the other
meter.py start NAME             starts a disabled vassal without the Emperor
meter.py enable NAME ...        sets the links, wakes the Emperor
meter.py program                how long a call of the installed program takes, and Python alone
meter.py about                  what this host is

HOW is only passed on. What is started counts as up with its first answer.
"""

import errno
import http.client
import json
import os
import platform
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

VASSAL = 'load'
LOAD_SECONDS = 8
IN_FLIGHT_SECONDS = 9
GIVE_UP = 300
AVAILABLE = '/etc/uwsgi/apps-available'
ENABLED = '/etc/uwsgi/apps-enabled'
PROGRAM = '/usr/local/lib/uwsgi-emperor/vassal-units'
REPORT = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\nREPORT {"responses": %d, "bad": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d, "us": %d, "max_us": %d}\\n',
    summary.requests, e.status, e.connect, e.read, e.write, e.timeout, summary.duration, latency.max))
end
"""


def path_of(name):
    return '/run/uwsgi/%s.socket' % name


def listens(name):
    """Whether somebody has bound the socket's path, without a connection that would take a place in its queue.

    The kernel finds the socket behind the path before it sees that a datagram is nothing for it.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(path_of(name))
        except OSError as error:
            if error.errno in (errno.ECONNREFUSED, errno.ENOENT):
                return False
            if error.errno != errno.EPROTOTYPE:
                raise
    return True


def answers(name):
    """Whether a vassal answers a request over the uwsgi protocol."""
    body = b''
    for word in ('REQUEST_METHOD', 'GET', 'PATH_INFO', '/', 'SERVER_PROTOCOL', 'HTTP/1.1'):
        body += struct.pack('<H', len(word)) + word.encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(GIVE_UP)
        try:
            connection.connect(path_of(name))
            connection.sendall(struct.pack('<BHB', 0, len(body), 0) + body)
            return connection.recv(4096).startswith(b'HTTP/1.1 200')
        except OSError:
            return False


def until(condition, what):
    end = time.monotonic() + GIVE_UP
    while not condition():
        if time.monotonic() > end:
            sys.exit('after %d s: %s' % (GIVE_UP, what))
        time.sleep(0.001)


def watch(name, over, found):
    """Looks each millisecond whether somebody listens, until the load is over and somebody does."""
    last = time.monotonic()
    closed = None
    while not over.is_set() or closed:
        there = listens(name)
        now = time.monotonic()
        found['pause'] = max(found['pause'], now - last)
        if there and closed:
            found['gaps'].append(now - closed)
            closed = None
        elif not there and not closed:
            closed = now
        if over.is_set() and closed and now - closed > GIVE_UP:
            sys.exit('%s is gone since %d s' % (path_of(name), GIVE_UP))
        last = now
        time.sleep(0.001)


def load(how):
    found = dict(gaps=[], pause=0.0)
    over = threading.Event()
    watcher = threading.Thread(target=watch, args=(VASSAL, over, found))
    watcher.start()
    try:
        with tempfile.NamedTemporaryFile('w', suffix='.lua') as script:
            script.write(REPORT)
            script.flush()
            began = time.time()
            wrk = subprocess.run(
                ['wrk', '-t1', '-c8', '-d%ds' % LOAD_SECONDS, '--timeout', '%ds' % LOAD_SECONDS, '-s', script.name,
                 '-H', 'Host: %s.localhost' % VASSAL, 'http://127.0.0.1/'],
                stdout=subprocess.PIPE, check=True,
            )  # fmt: skip
            ended = time.time()
    finally:
        over.set()
        watcher.join()
    report = [line for line in wrk.stdout.decode().splitlines() if line.startswith('REPORT ')]
    return dict(measured='load', how=how, began=began, ended=ended, wrk=json.loads(report[0][len('REPORT ') :]), **found)


def in_flight(how):
    requests = []
    began = time.time()
    while time.time() < began + IN_FLIGHT_SECONDS:
        connection = http.client.HTTPConnection('127.0.0.1', timeout=GIVE_UP)
        lines = []
        start = time.time()
        try:
            connection.request('GET', '/slow', headers={'Host': '%s.localhost' % VASSAL})
            answer = connection.getresponse()
            if answer.status == 200:
                lines.append(answer.readline())
                start = time.time()
                lines.append(answer.readline())
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        if lines[:1] == [b'begun\n']:
            requests.append(dict(began=start, ended=time.time(), kept=lines[1:] == [b'done\n']))
        else:
            time.sleep(0.01)
    return dict(measured='in-flight', how=how, began=began, ended=time.time(), requests=requests)


def start(name):
    began = time.monotonic()
    uwsgi = subprocess.Popen(
        ['/usr/bin/uwsgi-core', '--ini', '%s.ini' % name, '--include', '/etc/uwsgi/vassal-default.ini'],
        cwd=AVAILABLE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until(lambda: answers(name) or uwsgi.poll() is not None, '%s does not answer' % name)
    seconds = time.monotonic() - began
    if uwsgi.poll() is not None:
        sys.exit('%s has ended with %d: see /var/log/uwsgi/%s.log' % (name, uwsgi.returncode, name))
    time.sleep(0.5)
    uwsgi.send_signal(signal.SIGINT)
    uwsgi.wait(GIVE_UP)
    return dict(measured='start', name=name, seconds=seconds)


def enable(*names):
    emperor = int(subprocess.check_output(['systemctl', 'show', '--property', 'MainPID', '--value', 'uwsgi.service']))
    began = time.monotonic()
    for name in names:
        os.symlink('../apps-available/%s.ini' % name, '%s/%s.ini' % (ENABLED, name))
    os.kill(emperor, signal.SIGWINCH)
    for name in names:
        until(lambda: answers(name), '%s does not answer' % name)  # pylint: disable=cell-var-from-loop
    return dict(measured='enable', count=len(names), seconds=time.monotonic() - began)


def program():
    """Calls in turn, so that other load is the same for both; the program says how it is called, and has imported all by then."""
    python = ['/usr/bin/python3', '-I', '-c', 'pass']
    seconds = dict(program=[], python=[])
    for dummy in range(40):
        for name, argv in ('program', [PROGRAM]), ('python', python):
            began = time.monotonic()
            subprocess.run(argv, stderr=subprocess.DEVNULL, check=False)
            seconds[name].append(time.monotonic() - began)
    return dict(measured='program', program=statistics.median(seconds['program']), python=statistics.median(seconds['python']))


def about():
    with open('/proc/meminfo', encoding='ascii') as meminfo:
        kilobytes = int(meminfo.readline().split()[1])
    with open('/etc/debian_version', encoding='ascii') as version:
        debian = version.read().strip()
    return dict(
        measured='about',
        cores=len(os.sched_getaffinity(0)),
        gib=kilobytes / 1048576,
        kernel=platform.release(),
        debian=debian,
        python=platform.python_version(),
        uwsgi=subprocess.check_output(['/usr/bin/uwsgi-core', '--version']).decode().strip(),
        busy=os.getloadavg()[0],
    )


if __name__ == '__main__':
    command = dict([('load', load), ('in-flight', in_flight), ('start', start), ('enable', enable), ('program', program), ('about', about)])
    print(json.dumps(command[sys.argv[1]](*sys.argv[2:])))
