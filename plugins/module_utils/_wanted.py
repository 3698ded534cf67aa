# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What the user wants of vassals, checked: its state, its texts, who may read them, and the probe that it should answer."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import grp
import os
import pwd
import stat

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.validation import check_type_str
from ansible_collections.uwsgi.emperor.plugins.module_utils import _environment
from ansible_collections.uwsgi.emperor.plugins.module_utils._access import MODE
from ansible_collections.uwsgi.emperor.plugins.module_utils._sockets import get_request
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_bytes, to_native, to_text
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import STATES, VassalError, check_content, check_name, expand, render

# What a value of `vassals` may say.
KEYS = ('state', 'config', 'content', 'env', 'probe', 'mode', 'owner', 'group')
PROBE_SPEC = dict(path=dict(default='/'), status=dict(type='list', elements='int', default=[200]), host=dict(default='localhost'))


class Probe(object):
    """A request that an application should answer.

    path: the path of the GET, with a query or without. status: the status codes that are right. host: the name of the site.
    """

    def __init__(self, path, status, host):
        self.path = path
        self.status = status
        self.host = host

    def request(self):
        """The message that asks an application, in the uwsgi protocol."""
        return get_request(self.path, self.host)

    def verdict(self, status, problem):
        """What is wrong with an answer, None for nothing.

        status: the answer's status code, None where it is no HTTP. problem: why there was no answer, or None.
        """
        if status in self.status:
            return None
        got = 'status %d' % status if status else 'no HTTP answer'
        return problem or 'the probe of %s got %s, not %s' % (self.path, got, ' or '.join(map(str, self.status)))


class Wanted(object):
    """What the user wants of one vassal."""

    def __init__(self, name, state, config=None, content=None, probe=None, env=None, mode=None, owner=None, group=None):
        if config is not None and content is not None:
            raise VassalError('%s: config and content exclude each other.' % to_native(name))
        self.name = name
        self.state = state
        self.from_config = config is not None
        self.probe = None if probe is None else Probe(**probe)
        self.mode = None if mode is None else check_mode(name, mode)
        self.owner = None if owner is None else find_id(name, 'user', owner, lambda one: pwd.getpwnam(one).pw_uid)
        self.group = None if group is None else find_id(name, 'group', group, lambda one: grp.getgrnam(one).gr_gid)
        self.env = None if env is None else _environment.values(name, env)
        self.text = None
        if config is not None:
            self.text = to_bytes(render(config))
        elif content is not None:
            check_content(name, to_text(content))
            self.text = to_bytes(content if content.endswith('\n') else content + '\n')
        if self.text is not None and state in ('disabled', 'absent'):
            # the files of an application that is not to run are not written
            self.text = self.env = None


def check_mode(name, mode):
    """A function that makes a mode of another, as the user says it: by a number, in octal, or by symbols."""

    def by_symbols(base):
        return AnsibleModule._symbolic_mode_to_octal(os.stat_result((stat.S_IFREG | base,) + (0,) * 9), to_native(mode))

    try:
        number = mode if isinstance(mode, int) and not isinstance(mode, bool) else int(to_native(mode), 8)
    except ValueError:
        try:
            by_symbols(MODE)
        except ValueError:
            number = -1
        else:
            return by_symbols
    if not 0 <= number <= 0o7777:
        raise VassalError(
            "%s: mode: %s is no mode of a file; it is octal and quoted, '0640', or in symbols, u=rw,g=r,o=. Nothing was changed."
            % (to_native(name), to_native(mode))
        )
    return lambda dummy: number


def find_id(name, kind, value, find):
    """The ID of a user or a group that is given by its name or its number."""
    value = to_native(value)
    try:
        return int(value) if value.isdigit() else find(value)
    except KeyError:
        raise VassalError('%s: there is no %s %s on this host; make it first. Nothing was changed.' % (to_native(name), kind, value))


def find_wanted(params, files):
    """A Wanted for each vassal of a task. Raises VassalError for what is wrong with one."""
    if params['vassals'] is None:
        names = [to_text(name) for name in params['name']]
        if params['state'] in ('reloaded', 'restarted'):
            names = expand(names, files.enabled(), 'enabled ')
        else:
            # what is gone matches nothing the second time
            names = expand(names, files.known(), needed=params['state'] == 'enabled')
        return [Wanted(name, **dict((key, params[key]) for key in KEYS)) for name in names]
    result = []
    for name, value in params['vassals'].items():
        value = {} if value is None else value
        name = check_name(name)
        unknown = sorted(set(value) - set(KEYS)) if isinstance(value, dict) else None
        if unknown is None or unknown:
            raise VassalError(
                'vassals: %s: %s; it takes a dict of %s.'
                % (to_native(name), 'not a dict' if unknown is None else 'has no option ' + ', '.join(map(to_native, unknown)), ', '.join(KEYS))
            )
        state = to_native(value.get('state', params['state']))
        if state not in STATES:
            raise VassalError('vassals: %s: state is %s, not one of %s.' % (to_native(name), state, ', '.join(STATES)))
        config, content, env, probe = [value.get(key) for key in ('config', 'content', 'env', 'probe')]
        for option, one in (('config', config), ('env', env)):
            if one is not None and not isinstance(one, dict):
                raise VassalError('vassals: %s: %s is not a dict.' % (to_native(name), option))
        try:
            content = None if content is None else to_text(check_type_str(content, allow_conversion=False))
        except TypeError:
            raise VassalError('vassals: %s: content is not a text.' % to_native(name))
        probe = params['probe'] if probe is None else check_probe(to_native(name), probe)
        access = dict((key, params[key] if value.get(key) is None else value[key]) for key in ('mode', 'owner', 'group'))
        result.append(Wanted(name, state, config, content, probe, env, **access))
    return result


def check_probe(name, probe):
    """A vassal's own probe with its defaults, checked as the option of the task is."""
    result = ArgumentSpecValidator(PROBE_SPEC).validate(probe if isinstance(probe, dict) else dict(probe=probe))
    if result.error_messages:
        raise VassalError('vassals: %s: probe is a dict of path, status and host: %s.' % (name, '; '.join(result.error_messages)))
    return result.validated_parameters
