# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the scenario's tests share: asking an application through nginx, and the module, ad hoc, on all hosts at once."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import os
import re
import sys
import tempfile
import traceback

import pytest
import testinfra
import yaml

ROOT = os.environ['MOLECULE_PROJECT_DIRECTORY']
# Ansible reads its settings when it is imported.
os.environ.update(ANSIBLE_CONFIG=ROOT + '/ansible.cfg', ANSIBLE_NOCOLOR='1', ANSIBLE_CALLBACK_PLUGINS=ROOT + '/tests/callback_plugins')
from ansible.cli.adhoc import AdHocCLI  # noqa: E402
from ansible.cli.playbook import PlaybookCLI  # noqa: E402

COMMANDS = {'ansible': AdHocCLI, 'ansible-playbook': PlaybookCLI}

with open(os.environ['MOLECULE_FILE']) as handle:
    SCENARIO = yaml.safe_load(handle)
VARIABLES = SCENARIO['provisioner']['inventory']['group_vars']
BY_ROLE = [platform['name'] for platform in SCENARIO['platforms'] if 'emperor' in platform.get('groups', [])]
BY_HAND = [platform['name'] for platform in SCENARIO['platforms'] if 'groups' not in platform]
# What Python is called on the hosts: uWSGI's plugin, and the interpreter.
PLUGIN = VARIABLES.get('emperor', {}).get('emperor_plugins', ['python3'])[0]
BY_SYSTEMD = VARIABLES.get('emperor', {}).get('emperor_supervisor') == 'systemd'
INTERPRETER = VARIABLES['all']['ansible_python_interpreter']
RESULT = re.compile(r'^(\S+) \| (\w+)!? => (?=\{)', re.MULTILINE)


def pytest_collection_modifyitems(config, items):
    """Leaves the tests of files that do not name this scenario; pytest called by hand runs all."""
    scenario = os.environ.get('MOLECULE_SCENARIO_NAME')
    elsewhere = [item for item in items if scenario and scenario not in item.module.SCENARIOS]
    items[:] = [item for item in items if item not in elsewhere]
    config.hook.pytest_deselected(items=elsewhere)


class Site(object):
    """An application of one host, as nginx' clients see it."""

    def __init__(self, host):
        self.host = host

    def get(self, name, path='/'):
        """The status and the body of an answer."""
        answer = self.host.check_output(
            'curl --silent --max-time 20 --write-out "\\n%%{http_code}" --header %s %s', 'Host: %s.localhost' % name, 'http://127.0.0.1' + path
        )
        body, status = answer.rsplit('\n', 1)
        return int(status), body

    def facts(self, name):
        """What an application of our own tells of itself."""
        status, body = self.get(name)
        assert status == 200, '%s: %s' % (name, body)
        return json.loads(body)


@pytest.fixture
def site(host):
    return Site(host)


@pytest.fixture(scope='session')
def sites():
    """All hosts by name: a call acts on all of them at once."""
    return dict((name, Site(testinfra.get_host('podman://' + name))) for name in BY_ROLE + BY_HAND)


@pytest.fixture
def supervisor_pid(host):
    """The parent of all applications."""
    return 1 if BY_SYSTEMD else int(host.check_output('systemctl show --property MainPID uwsgi.service').split('=')[1])


def parse(output):
    """The results by host of an ad-hoc call."""
    results = {}
    for found in RESULT.finditer(output):
        name, status = found.groups()
        results[name] = json.JSONDecoder().raw_decode(output, found.end())[0]
        results[name]['failed'] = status not in ('SUCCESS', 'CHANGED')
    return results


def start(command):
    """Starts one of Ansible's commands as a user in a checkout does.

    It runs in a fork of this process: half of what a command costs is the import of Ansible, and the tests call it by the hundred.
    """
    options = ['-i', os.environ['MOLECULE_INVENTORY_FILE']] + command[1:]
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 250
        try:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(write, 1)
            os.dup2(write, 2)
            sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode, encoding='utf-8') for number, mode in enumerate('rww'))
            os.chdir(ROOT)
            code = COMMANDS[command[0]](command[:1] + options).run()
        except SystemExit as ended:
            code = ended.code
        except BaseException:
            traceback.print_exc()
            code = getattr(sys.exc_info()[1], 'exit_code', 250)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code or 0)
    os.close(write)
    return pid, read


def finish(started):
    """Waits for a command that was started; its exit code and output."""
    pid, read = started
    with os.fdopen(read, 'rb') as pipe:
        output = pipe.read().decode('utf-8')
    return os.WEXITSTATUS(os.waitpid(pid, 0)[1]), output


def call(command):
    return finish(start(command))


def ad_hoc(module, arguments, *options, hosts=tuple(BY_ROLE + BY_HAND), times=1):
    """Calls a module on hosts, all at once; the results by host. With `times`, so many calls at once, and their results in a list."""
    command = ['ansible', ','.join(hosts), '-b', '-m', module, '-a', json.dumps(arguments) if arguments else ''] + list(options)
    calls = []
    for dummy, output in map(finish, [start(command) for dummy in range(times)]):
        calls.append(parse(output))
        assert sorted(calls[-1]) == sorted(hosts), output
    return calls if times > 1 else calls[0]


def drive(arguments, hosts=tuple(BY_ROLE + BY_HAND)):
    """Calls the module on hosts, where it has to succeed; the results by host."""
    results = ad_hoc('uwsgi_vassal', arguments, hosts=hosts)
    for name, result in results.items():
        assert not result['failed'], '%s: %s' % (name, result.get('msg', result))
    return results


def playbook(name, extra, *options, fails=None):
    """Runs a playbook with variables; its output. With `fails`, it has to fail and to say that."""
    code, output = call(['ansible-playbook', name, '-e', json.dumps(extra)] + list(options))
    if fails is None:
        assert code == 0, output
    else:
        assert code != 0 and fails in output, output
    return output


def executions(name, extra, *options):
    """Runs a playbook with variables; the modules that were executed, by host."""
    with tempfile.NamedTemporaryFile('r', encoding='utf-8') as record:
        os.environ['EXECUTIONS'] = record.name
        try:
            playbook(name, extra, *options)
        finally:
            del os.environ['EXECUTIONS']
        found = {}
        for line in record:
            host, dummy, module = line.rstrip('\n').split('\t')
            found.setdefault(host, []).append(module)
        return found


def quartet(arguments, repeats=False):
    """Check, do, check again, do again, on all hosts: each says what it would change, and the second time nothing,
    or the same if the state acts each time. Returns the four results by host."""
    calls = [ad_hoc('uwsgi_vassal', arguments, *options) for options in ([('--check', '--diff'), ()] * 2)]
    for number, call in enumerate(calls):
        for name, result in call.items():
            assert not result['failed'], '%s, call %d: %s' % (name, number + 1, result)
            assert result['changed'] is (repeats or number < 2), '%s, call %d: %s' % (name, number + 1, result)
    return calls
