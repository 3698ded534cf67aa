#!/usr/bin/python
# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# A long file, as most of it is documentation, which Ansible wants here.

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r'''
---
module: uwsgi_migration_info
short_description: Tell what a host of Debian's uWSGI services becomes under the Emperor
version_added: 0.1.0
author:
  - uwsgi.emperor contributors (@uwsgi-emperor)
description:
  - Reads the applications that Debian's init script C(/etc/init.d/uwsgi) or its package C(uwsgi-emperor) runs, and works out the files
    that they and nginx need under the Emperor of the role C(uwsgi.emperor.emperor).
  - It changes nothing. The role C(uwsgi.emperor.migrate) does, with what it returns.
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    support: none
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
  idempotent:
    support: full
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
  platform:
    support: full
    platforms: debian
    description: Target OS families that can be operated against.
seealso:
  - module: uwsgi.emperor.uwsgi_vassal
'''

EXAMPLES = r'''
- name: Look at what would be taken over
  uwsgi.emperor.uwsgi_migration_info:
  register: migration

- name: Show what stands in the way
  ansible.builtin.debug:
    var: migration.refusals
'''

RETURN = r'''
services:
  description: The systemd services that run the applications so far; empty where there is nothing to migrate.
  returned: always
  type: list
  elements: str
  sample: [uwsgi.service]
applications:
  description: The applications, by name.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The application's name.
      type: str
      returned: always
      sample: redmine
    service:
      description: The service that runs it so far.
      type: str
      returned: always
      sample: uwsgi.service
    path:
      description: Its file under the Emperor.
      type: str
      returned: always
      sample: /etc/uwsgi/apps-available/redmine.ini
    changed:
      description: Whether that file has to be written.
      type: bool
      returned: always
    pid:
      description: The PID of its master process, V(none) when it does not run.
      type: int
      returned: always
files:
  description: The applications' files to write.
  returned: always
  type: list
  elements: dict
  contains: &file
    path:
      description: The file, with no link in its path.
      type: str
      returned: always
    content:
      description: What it has to contain.
      type: str
      returned: always
    owner:
      description: Its owner, by number, as it is.
      type: str
      returned: always
    group:
      description: Its group, by number, as it is.
      type: str
      returned: always
    mode:
      description: Its mode, as it is.
      type: str
      returned: always
      sample: "0644"
links:
  description: The links in the Emperor's directory to set.
  returned: always
  type: list
  elements: dict
  contains:
    path:
      description: The link.
      type: str
      returned: always
    target:
      description: Where it leads.
      type: str
      returned: always
nginx:
  description: The files of nginx to write.
  returned: always
  type: list
  elements: dict
  contains: *file
refusals:
  description: What can't be taken over, each with the remedy.
  returned: always
  type: list
  elements: str
notes:
  description: What the administrator should know.
  returned: always
  type: list
  elements: str
'''

import os
import re
import stat

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.uwsgi.emperor.plugins.module_utils import _migration
from ansible_collections.uwsgi.emperor.plugins.module_utils._daemons import LOGS, find_daemons, masters
from ansible_collections.uwsgi.emperor.plugins.module_utils._emperor import Emperor
from ansible_collections.uwsgi.emperor.plugins.module_utils._files import Files, find_texts, read_text
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import shortened, to_bytes, visible, visible_result
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import VassalError, check_name, split_extension

AVAILABLE = '/etc/uwsgi/apps-available'
ENABLED = '/etc/uwsgi/apps-enabled'
INIT_SCRIPT = 'uwsgi.service'
RIVAL = 'uwsgi-emperor.service'
RIVAL_INI = '/etc/uwsgi-emperor/emperor.ini'
# The files that the init script starts (UWSGI_CONFFILE_TYPES in /usr/share/uwsgi/init/snippets).
TYPES = re.compile(r'\.(db|ini|js|json|sqlite|sqlite3|xml|yaml|yml)\Z', re.IGNORECASE)


class Migration(object):
    """What is found, and what has to become of it."""

    def __init__(self, run_command):
        self.run_command = run_command
        self.services = []
        self.applications = []
        self.files = {}
        self.links = []
        self.nginx = {}
        self.refusals = []
        self.notes = []
        # of the Emperor that will be: its defaults are not there yet
        self.configurations = self._emperor(INIT_SCRIPT, AVAILABLE, ENABLED).configurations

    def gather(self):
        init_script = self._show(INIT_SCRIPT)
        rival = self._show(RIVAL)
        daemons = masters(find_daemons(init_script))
        if daemons or init_script.get('ActiveState') == 'active' and '/generator' in init_script.get('FragmentPath', ''):
            self._gather_init_script(daemons)
        elif init_script.get('FragmentPath', '').startswith('/run/') and list(find_files(ENABLED)):
            self.notes.append('%s is not active: start it, and its applications are taken over.' % INIT_SCRIPT)
        if rival.get('ActiveState') == 'active':
            self._gather_rival()
        if self.applications:
            self._gather_nginx()
            self._gather_others()

    def _emperor(self, unit, available_dir, enabled_dir):
        found = Emperor(self.run_command, unit, Files(available_dir, enabled_dir), '/nonexistent')
        found.find()
        return found

    def _show(self, unit):
        dummy, out, dummy = self.run_command(['systemctl', 'show', '-p', 'ActiveState', '-p', 'ControlGroup', '-p', 'FragmentPath', unit])
        return dict(line.split('=', 1) for line in out.split('\n') if '=' in line)

    def _add(self, service, name, path, text, previous, pid):
        """An application, with the text that its file has to have; it is refused if uWSGI does not take that."""
        if path.endswith('.ini') and 'emperor' in dict(_migration.section_options(text)):
            self.refusals.append('%s: %s starts an Emperor of its own; move its vassals to %s first.' % (name, previous, ENABLED))
        for problem in self.configurations.lint(os.path.basename(path), to_bytes(text), strict=False):
            self.refusals.append('%s: %s: %s.' % (name, path, problem))
        self.notes += ['%s: %s.' % (name, sentence) for sentence in self.configurations.left_out(os.path.basename(path))]
        if pid is None:
            self.refusals.append('%s: it is enabled (%s), but does not run: start it, or remove it there.' % (name, previous))
        self.applications.append(dict(name=name, service=service, path=path, changed=False, pid=pid))
        if text != read_text(path):
            self.applications[-1]['changed'] = True
            self.files[path] = text

    # the init script

    def _gather_init_script(self, daemons):
        self.services.append(INIT_SCRIPT)
        variables, exported, problems = _migration.read_shell(read_text(_migration.DEFAULTS) or '')
        self.refusals += ['%s. Remove it, or move it to the applications\' files.' % problem for problem in problems]
        given = self._inherited(variables.get('INHERITED_CONFIG', _migration.INHERITED))
        given += self._flavour()
        for directory in sorted(os.listdir('/etc/uwsgi')):
            if directory.endswith('s-enabled') and directory != 'apps-enabled' and list(find_files('/etc/uwsgi/' + directory)):
                self.refusals.append('/etc/uwsgi/%s: a namespace of its own is not taken over; move its files to %s.' % (directory, ENABLED))
        names = set()
        for path in find_files(ENABLED):
            name, ending = os.path.splitext(os.path.basename(path))
            if os.path.dirname(path) != ENABLED:
                self.refusals.append('%s: the Emperor does not look into directories; move it to %s.' % (path, ENABLED))
            elif not split_extension(os.path.basename(path)):
                self.refusals.append('%s: the Emperor does not take a file with this ending; write it as %s.ini.' % (path, name))
            elif name in names:
                self.refusals.append('%s: there is another file for %s; remove one.' % (path, name))
            else:
                names.add(name)
                try:
                    check_name(name)
                    self._add_legacy(name, path, given, exported, daemons.get(name))
                except VassalError as error:
                    self.refusals.append(str(error))
        for name in sorted(set(daemons) - names):
            # the name is the process's word, which it can't give itself a log for
            if os.path.lexists('%s/%s.log' % (LOGS, name)):
                shown = name if re.match(r'[\w.@+-]+\Z', name) else '"%s"' % shortened(visible(name))
                said = '%s: its daemon (process %d) runs, but %s has no file for it; stop it, or put its link back.'
                self.refusals.append(said % (shown, daemons[name], ENABLED))

    def _inherited(self, path):
        """The (option, value) pairs of the file that the init script gives to each application before its own."""
        text = read_text(path)
        if text is None:
            self.refusals.append('INHERITED_CONFIG in %s: %s can not be read.' % (_migration.DEFAULTS, path))
            return []
        if not path.endswith('.ini'):
            self.refusals.append('INHERITED_CONFIG in %s: %s is no INI file; write it as one.' % (_migration.DEFAULTS, path))
            return []
        return _migration.section_options(text)

    @staticmethod
    def _flavour():
        """/usr/bin/uwsgi is one of Debian's alternatives: a uWSGI by the name uwsgi_python3 loads the plugin python3 by itself."""
        try:
            name = os.path.basename(os.readlink('/etc/alternatives/uwsgi'))
        except OSError:
            return []
        return [('plugin', name[len('uwsgi_') :])] if name.startswith('uwsgi_') else []

    def _add_legacy(self, name, path, given, exported, pid):
        target = os.path.realpath(path)
        text = read_text(target)
        if text is None:
            raise VassalError('%s: %s is no text in UTF-8.' % (name, target))
        ini = path.endswith('.ini')
        own = _migration.section_options(text) if ini else []
        options = _migration.inherited(given + _migration.environment(exported), own)
        if options and not ini:
            raise VassalError(
                '%s: %s would need options that the init script gave to it (%s), and only an INI file can be given these; write it as %s.ini.'
                % (name, target, ', '.join(sorted(set(option for option, dummy in options))), name)
            )
        new = _migration.convert(text)
        if ini:
            new = _migration.add_options(new, options, 'What the init script gave to each application:')
        if os.path.dirname(target) != AVAILABLE:
            self.notes.append('%s: its file is %s, and stays there.' % (name, target))
        self._add(INIT_SCRIPT, name, target, new, path, pid)

    # uwsgi-emperor

    def _gather_rival(self):
        self.services.append(RIVAL)
        settings = _migration.section_options(read_text(RIVAL_INI) or '')
        strange = sorted(set(option for option, dummy in settings) - _migration.EMPEROR_INI)
        if strange:
            self.refusals.append(
                '%s: not taken over: %s. Give them by emperor_options or emperor_defaults, and remove them there.' % (RIVAL_INI, ', '.join(strange))
            )
        settings = dict(settings)
        directory = settings.get('emperor', '/etc/uwsgi-emperor/vassals').rstrip('/')
        pids = self._emperor(RIVAL, directory, directory).snapshot().pids
        taken = set(one['name'] for one in self.applications)
        for entry in sorted(os.listdir(directory)):
            path = '%s/%s' % (directory, entry)
            if not split_extension(entry) or not os.path.isfile(path):
                continue
            name, ending = split_extension(entry)
            target = '%s/%s' % (AVAILABLE, entry)
            text = read_text(path)
            if name in taken:
                self.refusals.append('%s: the init script has an application of this name too; rename one.' % path)
            elif ending != '.ini':
                self.refusals.append('%s: write it as %s.ini: what its Emperor gave to it has to be added.' % (path, name))
            elif text is None:
                self.refusals.append('%s: no text in UTF-8.' % path)
            else:
                new = _migration.convert_vassal(text, settings.get('uid'), settings.get('gid'))
                if os.path.exists(target) and read_text(target) != new:
                    self.refusals.append('%s: there is %s already; remove or rename one.' % (path, target))
                    continue
                try:
                    check_name(name)
                except VassalError as error:
                    self.refusals.append(str(error))
                    continue
                for option, user in ('uid', settings.get('uid')), ('gid', settings.get('gid')):
                    for key, value in _migration.section_options(text):
                        if user and key == option and value != user:
                            self.notes.append('%s: it says %s = %s, but ran as %s, and goes on so.' % (name, option, value, user))
                self._add(RIVAL, name, target, new, path, pids.get(entry))
                self.links.append(dict(path='%s/%s' % (ENABLED, entry), target='../apps-available/' + entry))

    # who names the sockets

    def _gather_nginx(self):
        if not os.path.exists('/usr/sbin/nginx'):
            return
        for path, text in naming('/etc/nginx'):
            new = _migration.rewrite_nginx(text)
            for number, line in _migration.leftovers(new):
                self.refusals.append('%s, line %d: which socket this names is not clear; write it out: %s' % (path, number, line))
            if new != text:
                self.nginx[path] = new

    def _gather_others(self):
        ours = ['/etc/nginx', '/etc/uwsgi', '/etc/uwsgi-emperor', '/etc/init.d', _migration.DEFAULTS]
        for path, text in naming('/etc', ours):
            if path not in self.nginx and _migration.leftovers(text):
                self.notes.append(
                    '%s names a path below /run/uwsgi/app, which is there until the next boot; the sockets are /run/uwsgi/NAME.socket from now on.' % path
                )

    def result(self):
        return dict(
            services=self.services,
            applications=sorted(self.applications, key=lambda one: one['name']),
            files=[described(path, text) for path, text in sorted(self.files.items())],
            links=self.links,
            nginx=[described(path, text) for path, text in sorted(self.nginx.items())],
            refusals=visible_result(self.refusals),
            notes=visible_result(self.notes),
        )


def described(path, text):
    try:
        found = os.stat(path)
        owner, group, mode = found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)
    except OSError:
        owner, group, mode = 0, 0, 0o644
    return dict(path=path, content=text, owner=str(owner), group=str(group), mode='%04o' % mode)


def find_files(directory):
    """The paths of the configurations that the init script finds in a directory and those below it."""
    for parent, directories, files in os.walk(directory):
        directories.sort()
        for name in sorted(files):
            path = '%s/%s' % (parent, name)
            if TYPES.search(name) and os.path.isfile(path):
                yield path


def naming(directory, without=()):
    """The (path, text) pairs of the files, below a directory and behind its links, that name a path of the init script's layout."""
    return ((path, text) for path, text in find_texts(directory, without) if 'run/uwsgi/app/' in text)


def main():
    module = AnsibleModule(argument_spec=dict(), supports_check_mode=True)
    if os.geteuid() != 0:
        module.fail_json(msg='Root is needed to see what runs, and to read its files (become: true).')
    migration = Migration(module.run_command)
    migration.gather()
    module.exit_json(**migration.result())


if __name__ == '__main__':
    main()
