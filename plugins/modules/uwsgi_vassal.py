#!/usr/bin/python
# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r'''
---
module: uwsgi_vassal
short_description: Enable, disable, reload and restart applications under the uWSGI Emperor
version_added: 0.1.0
author:
  - uwsgi.emperor contributors (@uwsgi-emperor)
description:
  - Brings applications (vassals) of the uWSGI Emperor into a state and waits until they are there.
  - It works on what really is, the link, the Emperor and its child processes, and never trusts a pidfile.
  - The Emperor is woken, so nothing waits for its next scan.
requirements:
  - systemd and a unit that runs uWSGI's Emperor, as the role P(uwsgi.emperor.emperor#role) sets it up or by hand in the same layout.
extends_documentation_fragment:
  - uwsgi.emperor.layout
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    details:
      - Nothing that a configuration says is executed. Options that uWSGI executes as soon as it reads them, such as C(exec-asap), C(hook-asap)
        and C(@(exec://...)), are left out when a configuration is checked, which a warning tells.
        Of a file in another format than INI that has one, uWSGI is not asked, so that an error in it shows at the start only.
  diff_mode:
    support: full
    description: Shows the link and, with O(config) or O(content), the file.
  idempotent:
    support: partial
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
    details:
      - The states V(reloaded) and V(restarted) act each time, unless O(only_if_stale=true).
  platform:
    support: full
    platforms: debian
    description: Target OS families that can be operated against.
options:
  name:
    description:
      - The application's name, which is the name of its file without the ending, or a list of names.
      - A pattern with C(*), C(?) or C([]) stands for all applications that have a file or a link of such a name, with the
        states V(reloaded) and V(restarted) for those that are enabled. Where there is none, these and V(enabled) fail, and
        V(disabled) and V(absent) have nothing to do.
      - One of O(name) and O(vassals) is needed.
    type: list
    elements: str
    aliases: [vassal]
  state:
    description:
      - V(enabled) links the application's file into the Emperor's directory; it runs when the task ends.
      - V(disabled) removes the link; the application has finished its requests and is gone when the task ends.
      - V(reloaded) runs its code and configuration anew in the same process; its socket stays open and running requests end in peace.
      - V(restarted) replaces its process, once requests in flight have ended. With
        C(hook-master-start = unix_signal:15 gracefully_kill_them_all) in its configuration or the defaults that is quick;
        without it a graceful reload comes first.
      - V(reloaded) and V(restarted) enable an application that was not.
      - V(absent) removes link, file and what is left in C(/run/uwsgi). The log stays.
    type: str
    choices: [enabled, disabled, reloaded, restarted, absent]
    default: enabled
  config:
    description:
      - The application's options, for a file in INI format. A list repeats its option.
      - A change is applied by a graceful reload where that suffices, otherwise by a restart.
      - When the application does not come up with it, the former file is put back.
    type: dict
  content:
    description:
      - The whole text of the application's file, in the format that its ending tells; a new file is C(NAME.ini).
    type: str
  vassals:
    description:
      - Many applications in one task, each with options of its own. The keys are names, the values dicts of C(state), C(config),
        C(content) and C(probe), which mean what the options of those names do.
        What a value does not say is taken from the task's O(state) and O(probe).
    type: dict
  only_if_stale:
    description:
      - With V(reloaded) and V(restarted), do nothing unless the application's file, the defaults or a path in O(watch) is
        newer than what runs.
    type: bool
    default: false
  watch:
    description:
      - Files and directories whose modification makes an application stale, with O(only_if_stale). Directories count with their own time.
    type: list
    elements: path
    default: []
  probe:
    description:
      - A request over the uwsgi protocol that has to be answered before the application counts as up.
      - It goes to the first plugin, as nginx's C(uwsgi_pass) does. One with another modifier, such as C(php) or C(cgi), has to be
        loaded as that, C(plugin = 0:php).
      - A wrong answer is asked for again until O(timeout), since the application may still warm up.
    type: dict
    suboptions:
      path:
        description: The path to ask for, with a query if it needs one.
        type: str
        default: /
      status:
        description: The statuses that will do.
        type: list
        elements: int
        default: [200]
      host:
        description: The host to ask for.
        type: str
        default: localhost
  method:
    description:
      - How V(reloaded) reloads.
      - V(graceful) lets the requests in flight end, keeps new ones waiting, and reads the configuration anew.
      - V(chain) replaces one worker after the other, so that no request waits. The configuration is not read again.
        It needs C(lazy-apps) and C(master-fifo) in the application's configuration or the defaults.
        A change by O(config) or O(content) is applied by a graceful reload all the same.
      - V(brutal) is V(graceful) without mercy for requests in flight.
    type: str
    choices: [graceful, chain, brutal]
    default: graceful
  wait:
    description:
      - Whether to wait until the application accepts requests or is gone. Without it, links and files can be set while no Emperor runs.
    type: bool
    default: true
  timeout:
    description:
      - How long to wait, in seconds. A crash loop is told earlier.
      - With V(restarted), V(disabled) and V(absent) requests in flight have as long to end. Then the workers are killed, which is
        reported as a warning and in RV(vassals[].actions), and the application has the time anew to come up.
    type: int
    default: 60
seealso:
  - module: uwsgi.emperor.uwsgi_vassal_info
'''

EXAMPLES = r'''
- name: Enable an application whose package brought its file
  uwsgi.emperor.uwsgi_vassal:
    name: radicale

- name: Write an application's file and enable it
  uwsgi.emperor.uwsgi_vassal:
    name: redmine
    config:
      plugin: rack
      chdir: /usr/share/redmine
      rack: config.ru
      workers: 4

- name: Restart all blogs
  uwsgi.emperor.uwsgi_vassal:
    name: 'blog-*'
    state: restarted

- name: Reload an application only when its code is newer than what runs
  uwsgi.emperor.uwsgi_vassal:
    name: wiki
    state: reloaded
    only_if_stale: true
    watch:
      - /srv/wiki/release

- name: Restart an application and ask it for its login page
  uwsgi.emperor.uwsgi_vassal:
    name: redmine
    state: restarted
    probe:
      path: /login
'''

RETURN = r'''
vassals:
  description: What was found and done, in the order asked for. In check mode, what would be done.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The application's name.
      type: str
      returned: always
      sample: redmine
    before:
      description: What was found.
      type: dict
      returned: always
      contains: &situation
        enabled:
          description: Whether its link is there and leads to a file.
          type: bool
          returned: always
        running:
          description: Whether the Emperor has a process for it.
          type: bool
          returned: always
        accepting:
          description: Whether it accepts requests.
          type: bool
          returned: always
        pid:
          description: The PID of its master process, V(none) when none runs or (in check mode) it is not known yet.
          type: int
          returned: always
    after:
      description: What was left, in check mode what would be.
      type: dict
      returned: always
      contains: *situation
    actions:
      description:
        - What was done, in order, of V(write), V(link), V(unlink), V(start), V(reload), V(restart), V(stop), V(kill), V(remove) and V(rollback).
      type: list
      elements: str
      returned: always
      sample: [write, link, start]
    changed:
      description: Whether something was done.
      type: bool
      returned: always
    elapsed:
      description: The seconds that it took, from the time when all that was asked for had been looked at.
      type: float
      returned: always
    msg:
      description: What went wrong.
      type: str
      returned: when this application failed
'''

import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.text.converters import to_bytes, to_native, to_text
from ansible.module_utils.common.validation import check_type_str
from ansible_collections.uwsgi.emperor.plugins.module_utils._drive import Job, bring_about, lint
from ansible_collections.uwsgi.emperor.plugins.module_utils._layout import find_host, layout_spec
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import (
    STATES,
    VassalError,
    check_name,
    expand,
    is_set,
    make_plan,
    render,
)

PROBE = dict(path=dict(default='/'), status=dict(type='list', elements='int', default=[200]), host=dict(default='localhost'))


class Wish(object):
    """What the user wants of one vassal."""

    def __init__(self, name, state, config=None, content=None, probe=None):
        if config is not None and content is not None:
            raise VassalError('%s: config and content exclude each other.' % to_native(name))
        self.name = name
        self.state = state
        self.from_config = config is not None
        self.probe = probe
        self.text = None
        if config is not None:
            self.text = to_bytes(render(config))
        elif content is not None:
            self.text = to_bytes(content if content.endswith('\n') else content + '\n')
        if self.text is not None and state in ('disabled', 'absent'):
            # the file of an application that shall not run is not written
            self.text = None


def wishes(params, host):
    if params['vassals'] is None:
        names = [to_text(name) for name in params['name']]
        if params['state'] in ('reloaded', 'restarted'):
            names = expand(names, host.enabled(), 'enabled ')
        else:
            # what is gone matches nothing the second time
            names = expand(names, host.known(), needed=params['state'] == 'enabled')
        return [Wish(name, params['state'], params['config'], params['content'], params['probe']) for name in names]
    result = []
    for name, value in params['vassals'].items():
        value = {} if value is None else value
        name = check_name(name)
        unknown = sorted(set(value) - set(['state', 'config', 'content', 'probe'])) if isinstance(value, dict) else None
        if unknown is None or unknown:
            raise VassalError(
                'vassals: %s: %s; it takes a dict of state, config, content and probe.'
                % (to_native(name), 'not a dict' if unknown is None else 'has no option ' + ', '.join(map(to_native, unknown)))
            )
        state = to_native(value.get('state', params['state']))
        if state not in STATES:
            raise VassalError('vassals: %s: state is %s, not one of %s.' % (to_native(name), state, ', '.join(STATES)))
        config, content, probe = value.get('config'), value.get('content'), value.get('probe')
        if config is not None and not isinstance(config, dict):
            raise VassalError('vassals: %s: config is not a dict.' % to_native(name))
        try:
            content = None if content is None else to_text(check_type_str(content, allow_conversion=False))
        except TypeError:
            raise VassalError('vassals: %s: content is not a text.' % to_native(name))
        probe = params['probe'] if probe is None else check_probe(to_native(name), probe)
        result.append(Wish(name, state, config, content, probe))
    return result


def check_probe(name, probe):
    """A vassal's own probe with its defaults, checked as the option of the task is."""
    result = ArgumentSpecValidator(PROBE).validate(probe if isinstance(probe, dict) else dict(probe=probe))
    if result.error_messages:
        raise VassalError('vassals: %s: probe is a dict of path, status and host: %s.' % (name, '; '.join(result.error_messages)))
    return result.validated_parameters


def predict(situation, plan):
    """What check mode says of the time after: the same as `brief`, with the PID unknown where it would change."""
    if plan.wants_gone:
        return dict(enabled=False, running=False, accepting=False, pid=None)
    return dict(enabled=True, running=True, accepting=True, pid=situation.pid if plan.mode in (None, 'reload') else None)


def diff(host, job):
    """What --diff shows: the link as a line, and the file."""
    filename = job.filename
    result = []
    actions = job.plan.actions
    if 'write' in actions or 'remove' in actions:
        result.append(
            dict(
                before_header='%s/%s' % (host.available_dir, filename),
                after_header='%s/%s' % (host.available_dir, filename),
                before=to_text(job.before.text or b'', errors='surrogate_or_replace'),
                after=to_text(job.text, errors='surrogate_or_replace') if 'write' in actions else u'',
            )
        )
    if 'link' in actions or 'unlink' in actions:
        header = '%s/%s' % (host.enabled_dir, filename)
        line = '%s/%s\n' % (host.available_dir, filename)
        old = (job.before.target or line.strip()).split(' -> ')[-1] + '\n' if job.before.link else ''
        result.append(dict(before_header=header, after_header=header, before=old, after=line if 'link' in actions else ''))
    return result


def run(module):
    params = module.params
    if os.geteuid() != 0:
        raise VassalError("Root is needed to see and to change the Emperor's vassals (become: true). Nothing was changed.")
    for option in ('available_dir', 'enabled_dir'):
        if not os.path.isdir(params[option]) and not (module.check_mode and not params['wait']):
            raise VassalError(
                '%s: there is no directory %s. Run the role uwsgi.emperor.emperor, or set the option to where your vassals are.' % (option, params[option])
            )
    host = find_host(module.run_command, params)
    wanted = wishes(params, host)
    lock = None
    if not module.check_mode:
        lock = host.lock(params['timeout'])
    try:
        return carry_out(module, host, wanted)
    finally:
        if lock is not None:
            os.close(lock)


def carry_out(module, host, wanted):
    params = module.params
    view = host.look()
    jobs = []
    for wish, situation in zip(wanted, host.situations([wish.name for wish in wanted], view)):
        if wish.from_config and wish.text is not None and situation.extension != '.ini':
            raise VassalError(
                '%s: config writes %s.ini, but there is %s%s already; give its text by content.' % (wish.name, wish.name, wish.name, situation.extension)
            )
        stale = None
        if params['only_if_stale'] and wish.state in ('reloaded', 'restarted'):
            stale = host.is_stale(situation, params['watch'])
        plan = make_plan(situation, wish.state, wish.text, stale)
        if plan.mode == 'reload' and params['method'] == 'chain':
            options = host.options(situation.filename)
            missing = [] if options.get('master-fifo') else ['master-fifo']
            missing += [] if is_set(options, 'lazy-apps') else ['lazy-apps']
            if missing:
                raise VassalError(
                    '%s: method=chain needs %s in its configuration or the defaults; set it and restart, or use another method. '
                    'Nothing was changed.' % (wish.name, ' and '.join(missing))
                )
        jobs.append(Job(situation, plan, wish.text, wish.probe, params['method']))
        if plan.mode == 'start':
            host.refuse_twin(wish.name)
        acts = params['wait'] and plan.wants_up or not module.check_mode and wish.state in ('reloaded', 'restarted')
        if acts and not host.emperor:
            raise VassalError('%s: %s: %s. Nothing was changed.' % (wish.name, host.down, host.why_down))
    if not module.check_mode:
        bring_about(host, jobs, params['timeout'], params['wait'])
        for job, wish in zip(jobs, wanted):
            if wish.state == 'absent' and not job.failure:
                host.remove(job.filename)
    elif params['wait']:
        lint(host, jobs)
    results = []
    diffs = []
    for sentence in host.left_out_of_settings:
        module.warn(sentence + '.')
    for job in jobs:
        for warning in job.warnings:
            module.warn(warning)
        for sentence in host.left_out(job.filename):
            module.warn('%s: %s.' % (to_native(job.name), sentence))
        actions = list(job.plan.actions)
        entry = dict(
            name=to_native(job.name),
            before=job.before.brief(),
            after=job.before.brief() if not job.after and job.failure else job.after.brief() if job.after else predict(job.before, job.plan),
            actions=actions,
            changed=job.plan.changed,
            elapsed=round(job.elapsed, 3),
        )
        if job.failure:
            entry['msg'] = job.explained
        results.append(entry)
        diffs.extend(diff(host, job))
    outcome = dict(changed=any(entry['changed'] for entry in results), vassals=results)
    if module._diff:
        outcome['diff'] = diffs
    failed = [entry['msg'] for entry in results if 'msg' in entry]
    if failed:
        module.fail_json(msg='\n\n'.join(failed), **outcome)
    return outcome


def main():
    spec = dict(
        name=dict(type='list', elements='str', aliases=['vassal']),
        state=dict(choices=list(STATES), default='enabled'),
        config=dict(type='dict'),
        content=dict(type='str'),
        vassals=dict(type='dict'),
        only_if_stale=dict(type='bool', default=False),
        watch=dict(type='list', elements='path', default=[]),
        probe=dict(type='dict', options=PROBE),
        method=dict(choices=['graceful', 'chain', 'brutal'], default='graceful'),
        wait=dict(type='bool', default=True),
        timeout=dict(type='int', default=60),
    )
    spec.update(layout_spec())
    module = AnsibleModule(
        argument_spec=spec,
        mutually_exclusive=[['name', 'vassals'], ['config', 'content'], ['vassals', 'config'], ['vassals', 'content']],
        required_one_of=[['name', 'vassals']],
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except VassalError as error:
        module.fail_json(msg=to_native(error))


if __name__ == '__main__':
    main()
