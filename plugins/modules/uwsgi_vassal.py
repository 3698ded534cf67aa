#!/usr/bin/python
# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# A long file, as most of it is documentation, which Ansible wants here.

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
  - A run that was killed, whenever that was, is made up for by the same task run again.
  - It warns where others than root may change C(/run/uwsgi). An application could make itself root there.
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
    description: >-
      Shows the link, with O(config) or O(content) the file, with O(env) the names of variables, and what a file's mode, owner and group were.
      Control characters, marks that reorder text and bytes that are no UTF-8 are escaped there, as they are in all messages.
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
      - V(reloaded) runs its code and configuration again in the same process; its socket stays open and requests in flight are finished.
        It is V(restarted) instead where the application's user may not read its file, since uWSGI would die of that, and where
        its configuration names another user or group than it runs as, which a reload can't change.
      - V(restarted) replaces its process, once requests in flight have ended. With
        C(hook-master-start = unix_signal:15 gracefully_kill_them_all) in its configuration or the defaults that is quick;
        without it a graceful reload comes first.
      - V(reloaded) and V(restarted) enable an application that was not.
      - V(absent) removes link, file, environment and what is left in C(/run/uwsgi), the directory C(/run/uwsgi/app/NAME) too. The log stays.
    type: str
    choices: [enabled, disabled, reloaded, restarted, absent]
    default: enabled
  config:
    description:
      - The application's options, for a file in INI format. A list repeats its option.
      - A change is applied by a graceful reload where that suffices, otherwise by a restart.
      - When the application does not come up with it, the previous file is put back.
      - It is no place for secrets, which show in C(--diff) and C(-vvv). O(env) is.
    type: dict
  content:
    description:
      - The whole text of the application's file, in the format that its ending tells; a new file is C(NAME.ini).
    type: str
  env:
    description:
      - Environment variables of the application, names and values, which are strings, numbers or booleans. They are set in place of others
        of these names that its configuration sets.
      - The values are secret. They stand in C(/etc/uwsgi/apps-env/NAME.ini), which root and the application's own group may read, and in no
        output, C(--diff), journal or list of processes. Lines of the application's log that a failed task shows have C(********) for
        values of four characters and more.
      - A value is taken literally, whatever uWSGI would make of it elsewhere. A line break in it is an error, and so is a name that begins
        with C(UWSGI_), by which uWSGI sets its own options.
      - A change is applied by a restart. When the application does not come up with it, the previous variables are put back.
      - Without it the variables are left as they are; V({}) and O(state=absent) remove them.
      - The defaults of the role P(uwsgi.emperor.emperor#role) read that file; on a host that was set up by hand the task says which lines
        they lack.
      - A value that stands in a playbook's text or on a command line is seen where that is seen; keep it in a vault.
    type: dict
  mode:
    description:
      - The mode of the application's file, as M(ansible.builtin.file) takes it, V('0640') or V(u=rw,g=r,o=).
      - A file that the task writes, by O(config) or O(content), has V('0640') by default, owner V(root) and the group as which the application
        runs, which is the C(gid) of its configuration with the defaults. One that is there with wider access is put right, without a word to
        the application. One that root has closed to all others, V('0600'), stays closed.
      - Another file is left as it is unless O(mode), O(owner) or O(group) is given.
      - uWSGI reads the file once more as the application's user when it reloads. Where that user may not read it, the application is
        restarted instead.
    type: raw
  owner:
    description:
      - The user that owns the application's file, see O(mode). uWSGI reads the file as root, so who may write to it may become root.
    type: str
  group:
    description:
      - The group of the application's file, see O(mode).
    type: str
  vassals:
    description:
      - Many applications in one task, each with options of its own. The keys are names, the values dicts of C(state), C(config),
        C(content), C(env), C(probe), C(mode), C(owner) and C(group), which mean what the options of those names do.
        What a value does not say is taken from the task's O(state), O(probe), O(mode), O(owner) and O(group).
    type: dict
  only_if_stale:
    description:
      - With V(reloaded) and V(restarted), do nothing unless the application's file, the defaults or a path in O(watch) is
        newer than what runs, or nobody can tell, as RV(uwsgi.emperor.uwsgi_vassal_info#module:vassals[].stale) says.
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
      - V(graceful) lets the requests in flight end, keeps new ones waiting, and reads the configuration again.
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
        reported as a warning and in RV(vassals[].actions), and the application has the same time again to come up.
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

- name: Give an application its environment
  uwsgi.emperor.uwsgi_vassal:
    name: shop
    env:
      DATABASE_URL: "{{ vault_shop_database }}"
      DEBUG: false

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
        - What was done, in order, of V(write), V(chmod), V(env), V(link), V(unlink), V(start), V(reload), V(restart), V(stop), V(kill), V(remove) and
          V(rollback).
        - V(chmod) gives files their mode, owner and group, V(env) writes or removes the environment.
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
      description: What went wrong. What a log says is named as the log's, or indented; control characters and bytes that are no UTF-8 are escaped.
      type: str
      returned: when this application failed
'''

import grp
import os
import pwd

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.uwsgi.emperor.plugins.module_utils import _environment
from ansible_collections.uwsgi.emperor.plugins.module_utils._access import MODE, settle_access, wanted_access
from ansible_collections.uwsgi.emperor.plugins.module_utils._execute import execute, lint
from ansible_collections.uwsgi.emperor.plugins.module_utils._host import find_host, layout_spec
from ansible_collections.uwsgi.emperor.plugins.module_utils._job import Job
from ansible_collections.uwsgi.emperor.plugins.module_utils._systemd import announce
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_bytes, to_native, visible_result, visible_text
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import STATES, VassalError, is_set, make_plan
from ansible_collections.uwsgi.emperor.plugins.module_utils._wanted import KEYS, PROBE_SPEC, find_wanted

# What stands for env in the result, as for each option that Ansible keeps out of the journal.
HIDDEN = 'VALUE_SPECIFIED_IN_NO_LOG_PARAMETER'


def predict(situation, plan):
    """What check mode says of the time after: the same as `summary`, with the PID unknown where it would change."""
    if plan.wants_gone:
        return dict(enabled=False, running=False, accepting=False, pid=None)
    return dict(enabled=True, running=True, accepting=True, pid=situation.pid if plan.mode in (None, 'reload') else None)


def show_access(access):
    """What --diff shows of a file's mode, owner and group."""

    def name_of(find, number):
        try:
            return find(number)[0]
        except KeyError:
            return number

    return 'mode: %04o\nowner: %s\ngroup: %s\n' % (access[0], name_of(pwd.getpwuid, access[1]), name_of(grp.getgrgid, access[2]))


def diff(host, job):
    """What --diff shows: the link as a line, and the files; of the environment the names, and in no file a value of it."""
    filename = job.filename
    result = []
    actions = job.actions
    was, should = [_environment.parse(text or b'') for text in (job.before.env, job.env)]
    hidden = _environment.secrets(was) + _environment.secrets(should)

    def add(path, before, after):
        if before != after:
            result.append(dict(before_header=path, after_header=path, before=before, after=after))

    if 'write' in actions or 'remove' in actions:
        path = '%s/%s' % (host.files.available_dir, filename)
        texts = [visible_text(text or b'') for text in (job.before.text, job.text if 'write' in actions else b'')]
        add(path, *[_environment.mask(text, hidden) for text in texts])
    if 'env' in actions or 'remove' in actions:
        add(host.files.env_path(filename), *map(to_native, _environment.changes(was, should if 'env' in actions else {})))
    for path, action, found, wanted in (
        (job.before.path, 'write', job.before.access, job.access),
        (host.files.env_path(filename), 'env', job.before.env_access, job.env_access),
    ):
        if found and wanted and (action in actions or 'chmod' in actions):
            add(path, show_access(found), show_access(wanted))
    if 'link' in actions or 'unlink' in actions:
        header = '%s/%s' % (host.files.enabled_dir, filename)
        line = '%s/%s\n' % (host.files.available_dir, filename)
        old = (job.before.target or line.strip()).split(' -> ')[-1] + '\n' if job.before.link else ''
        result.append(dict(before_header=header, after_header=header, before=old, after=line if 'link' in actions else ''))
    return result


def take_secrets(module):
    """The parameters; what the result tells of them has no values of variables.

    Ansible would blot out each text in the result that is like a value, so that with a variable's value of 1 no PID could be read.
    """
    params = dict(module.params)
    if params['env'] is not None:
        module.params['env'] = dict((key, HIDDEN) for key in params['env'])
    if params['vassals'] is not None:
        module.params['vassals'] = dict((name, without_values(value)) for name, value in params['vassals'].items())
    module.no_log_values = set()
    return params


def without_values(value):
    if not isinstance(value, dict):
        return HIDDEN if value else value
    env = value.get('env')
    # a misspelt env has values, too
    value = dict((key, one if key in KEYS else HIDDEN) for key, one in value.items())
    if env is not None:
        value['env'] = dict((key, HIDDEN) for key in env) if isinstance(env, dict) else HIDDEN
    return value


def run(module, params):
    if os.geteuid() != 0:
        raise VassalError("Root is needed to see and to change the Emperor's vassals (become: true). Nothing was changed.")
    for option in ('available_dir', 'enabled_dir'):
        if not os.path.isdir(params[option]) and not (module.check_mode and not params['wait']):
            raise VassalError(
                '%s: there is no directory %s. Run the role uwsgi.emperor.emperor, or set the option to where your vassals are.' % (option, params[option])
            )
    host = find_host(module.run_command, params)
    if host.open_directory():
        module.warn(host.open_directory())
    wanted = find_wanted(params, host.files)
    lock = None
    if not module.check_mode:
        lock = host.files.lock(params['timeout'], lambda waiting: module.warn('Began by %s' % waiting))
    jobs = []
    try:
        return carry_out(module, params, host, wanted, jobs)
    finally:
        if lock is not None:
            os.close(lock)
            # a unit that starts may have waited for the lock
            announce(host.supervisor, [job.name for job in jobs if job.rose], [job.name for job in jobs if job.fell])


def find_access(host, jobs, wanted, check_mode):
    """Completes the jobs' plans by the access that their files should have."""
    given = [job for job, wish in zip(jobs, wanted) if job.plan.wants_up and (wish.text is not None or wish.env)]
    asked = [job for job in given if not agrees(job)]
    there = os.path.exists(host.configurations.binary)
    reloaded = [job for job in jobs if there and job.plan.mode == 'reload' and ('write' in job.plan.actions or job.method != 'chain')]
    # somebody may have given an application to another user, and only a restart takes it from the previous one
    kept = [job for job in jobs if there and job.plan.wants_up and job.plan.mode is None and host.changed_since_start(job.before)]
    identified = reloaded + kept
    if there:
        host.configurations.read([(job.filename, job.to_write) for job in asked + identified])
    groups = dict((job.filename, job.before.access[2]) for job in given if agrees(job))
    for job in asked:
        groups[job.filename] = host.identity(job.filename, job.to_write)[1] if there else None if check_mode else 0
    for job, wish in zip(jobs, wanted):
        found, env_found, gid = job.before.access, job.before.env_access, groups.get(job.filename)
        # a tyrant runs a vassal as the owner and the group of its file
        tyrant = found is not None and host.supervisor.tyrant
        job.access = wanted_access(found, wish.text is not None and not tyrant, gid, wish.mode, wish.owner, wish.group)
        if wish.env or wish.env is None and env_found:
            job.env_access = wanted_access(env_found, gid is not None, found[2] if tyrant else gid)
        identity = host.identity(job.filename, job.to_write) if job in identified else None
        job.plan = settle_access(job.before, job.plan, job.access, job.env_access, identity)


def agrees(job):
    """Whether a vassal keeps running as a group that its file has already: uWSGI need not be asked for it."""
    s = job.before
    if job.plan.mode not in (None, 'reload') or job.to_write is not None or not s.accepting or not s.credentials or not s.credentials[0]:
        return False
    return s.access[2] == s.credentials[1][0] and s.env_access in (None, (MODE, 0, s.access[2]))


def carry_out(module, params, host, wanted, jobs):
    """The result; `jobs`, an empty list, gets one for each vassal."""
    view = host.supervisor.snapshot()
    for wish, situation in zip(wanted, host.situations([wish.name for wish in wanted], view)):
        if wish.from_config and wish.text is not None and situation.extension != '.ini':
            raise VassalError(
                '%s: config writes %s.ini, but there is %s%s already; give its text by content.' % (wish.name, wish.name, wish.name, situation.extension)
            )
        stale = None
        if params['only_if_stale'] and wish.state in ('reloaded', 'restarted'):
            stale = host.is_stale(situation, params['watch'])
        was = _environment.parse(situation.env or b'')
        differs = wish.env is not None and (wish.env != was or situation.env is not None and not wish.env)
        plan = make_plan(situation, wish.state, wish.text, stale, differs)
        if wish.env and (params['wait'] or not module.check_mode):
            host.check_env(to_native(wish.name))
        if plan.mode == 'reload' and params['method'] == 'chain':
            options = host.configurations.options(situation.filename)
            missing = [] if options.get('master-fifo') else ['master-fifo']
            missing += [] if is_set(options, 'lazy-apps') else ['lazy-apps']
            if missing:
                raise VassalError(
                    '%s: method=chain needs %s in its configuration or the defaults; set it and restart, or use another method. '
                    'Nothing was changed.' % (wish.name, ' and '.join(missing))
                )
        env = to_bytes(_environment.render(wish.env)) if wish.env else None
        jobs.append(Job(situation, plan, wish.text, wish.probe, params['method'], env=env))
        if plan.mode == 'start':
            host.supervisor.refuse_if_served(wish.name)
        acts = params['wait'] and plan.wants_up or not module.check_mode and wish.state in ('reloaded', 'restarted')
        if acts and not host.supervisor.pid:
            raise VassalError('%s: %s: %s. Nothing was changed.' % (wish.name, host.supervisor.down, host.supervisor.why_down))
    find_access(host, jobs, wanted, module.check_mode)
    if not module.check_mode:
        execute(host, jobs, params['timeout'], params['wait'])
        for job, wish in zip(jobs, wanted):
            if wish.state == 'absent' and not job.failure:
                try:
                    host.remove(job.filename)
                except VassalError as error:
                    job.fail('it was not removed')
                    job.explained = '%s: %s' % (to_native(job.name), to_native(error))
    elif params['wait']:
        lint(host, jobs)
    results = []
    diffs = []
    for sentence in host.supervisor.left_out:
        module.warn(visible_text(sentence + '.'))
    for job in jobs:
        for warning in job.warnings:
            module.warn(visible_text(warning))
        for sentence in host.configurations.left_out(job.filename):
            module.warn(visible_text('%s: %s.' % (to_native(job.name), sentence)))
        actions = job.actions
        entry = dict(
            name=to_native(job.name),
            before=job.before.summary(),
            after=job.before.summary() if not job.after and job.failure else job.after.summary() if job.after else predict(job.before, job.plan),
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
        module.fail_json(msg='\n\n'.join(map(visible_text, failed)), **visible_result(outcome))
    return visible_result(outcome)


def main():
    spec = dict(
        name=dict(type='list', elements='str', aliases=['vassal']),
        state=dict(choices=list(STATES), default='enabled'),
        # in no journal of the host; what the result tells of them is up to take_secrets()
        config=dict(type='dict', no_log=True),
        content=dict(type='str', no_log=True),
        env=dict(type='dict', no_log=True),
        mode=dict(type='raw'),
        owner=dict(type='str'),
        group=dict(type='str'),
        vassals=dict(type='dict', no_log=True),
        only_if_stale=dict(type='bool', default=False),
        watch=dict(type='list', elements='path', default=[]),
        probe=dict(type='dict', options=PROBE_SPEC),
        method=dict(choices=['graceful', 'chain', 'brutal'], default='graceful'),
        wait=dict(type='bool', default=True),
        timeout=dict(type='int', default=60),
    )
    spec.update(layout_spec())
    module = AnsibleModule(
        argument_spec=spec,
        mutually_exclusive=[['name', 'vassals'], ['config', 'content'], ['vassals', 'config'], ['vassals', 'content'], ['vassals', 'env']],
        required_one_of=[['name', 'vassals']],
        supports_check_mode=True,
    )
    params = take_secrets(module)
    try:
        module.exit_json(**run(module, params))
    except VassalError as error:
        module.fail_json(msg=visible_text(to_native(error)))


if __name__ == '__main__':
    main()
