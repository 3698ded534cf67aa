# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the scenario's tests share: asking an application through nginx, and the module, ad hoc, on all hosts at once."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import os
import re
import subprocess

import pytest

RESULT = re.compile(r'^(\S+) \| (\w+)!? => (?=\{)', re.MULTILINE)


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


@pytest.fixture
def emperor_pid(host):
    return int(host.check_output('systemctl show --property MainPID uwsgi.service').split('=')[1])


def parse(output):
    """The results by host of an ad-hoc call."""
    results = {}
    for found in RESULT.finditer(output):
        name, status = found.groups()
        results[name] = json.JSONDecoder().raw_decode(output, found.end())[0]
        results[name]['failed'] = status not in ('SUCCESS', 'CHANGED')
    return results


def ad_hoc(module, arguments, *options):
    """Calls a module on all hosts as a user in a checkout does; the results by host."""
    root = os.environ['MOLECULE_PROJECT_DIRECTORY']
    command = ['ansible', '-i', os.environ['MOLECULE_INVENTORY_FILE'], 'all', '-b', '-m', module, '-a', json.dumps(arguments) if arguments else '']
    environ = dict(os.environ, ANSIBLE_CONFIG=os.path.join(root, 'ansible.cfg'), ANSIBLE_NOCOLOR='1')
    done = subprocess.run(command + list(options), cwd=root, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    results = parse(done.stdout.decode('utf-8'))
    assert len(results) == 3, (done.stdout + done.stderr).decode('utf-8')
    return results


def quartet(arguments, repeats=False):
    """Check, do, check again, do again, on all hosts: each says what it would change, and the second time nothing,
    or the same if the state acts each time. Returns the four results by host."""
    calls = [ad_hoc('uwsgi_vassal', arguments, *options) for options in ([('--check', '--diff'), ()] * 2)]
    for number, call in enumerate(calls):
        for name, result in call.items():
            assert not result['failed'], '%s, call %d: %s' % (name, number + 1, result)
            assert result['changed'] is (repeats or number < 2), '%s, call %d: %s' % (name, number + 1, result)
    return calls
