# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Where root would read, run, open or make something for a vassal in a directory of others, who become root by that."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import re

from ansible_collections.uwsgi.emperor.plugins.module_utils import _alterable
from ansible_collections.uwsgi.emperor.plugins.module_utils._commands import Command
from ansible_collections.uwsgi.emperor.plugins.module_utils._files import RUN_DIR
from ansible_collections.uwsgi.emperor.plugins.module_utils._scan import (
    AS_ROOT,
    AT_EXIT,
    BEFORE_BIND,
    DIRECTORIES,
    KEEPS_ROOT,
    LOGGERS,
    OPENS,
    PLACEHOLDER,
    READS_AS_ROOT,
    READS_IN_CHDIR,
    REMOVES,
    RUNS_AS_ROOT,
    SPOOLERS,
    UNKNOWN,
    paths_of,
)
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import is_true


_TO_ROOT = 'Keep it where root alone writes'


def find_exposed(options, opened, reads, env, enabled_dir, asked):
    """Two lists of sentences: of what a vassal's own file, or the text that it would get, says, and of the rest.

    options: what uWSGI says of its configuration, {} where that was not asked. opened, reads: as a Scan has them. env: variables, each NAME=VALUE, that
    it is about to get. enabled_dir: where uWSGI is when it starts. asked: whether there is a uWSGI that could be asked.
    """
    found = _Exposure(options, opened, enabled_dir)
    found.look_at_reads(reads)
    found.look_at_commands(env)
    # where uWSGI was not asked, the text tells
    users = [options.get('uid')] if options else [value for option, value, dummy in opened if option == 'uid']
    # otherwise nothing is opened as root, or all is
    if asked and not all(user in (None, 'root', '0') for user in users):
        found.look_at_what_is_read_as_root()
        found.look_at_spoolers()
        found.look_at_what_is_removed()
        found.look_at_what_is_opened()
    return found.own, found.others


class _Exposure(object):
    """The sentences, as they are found."""

    def __init__(self, options, opened, enabled_dir):
        self.options = options
        self.opened = opened
        self.enabled_dir = enabled_dir
        # which uWSGI enters while it is still root
        self.directory = options.get('chdir') or options.get('force-cwd')
        self.own, self.others = [], []

    def _of(self, own):
        return self.own if own else self.others

    def _tell(self, own, what, found, remedy):
        """Adds a sentence on what is in reach of others, as open_above() and alterable() have found."""
        sentences = self._of(own)
        # of RUN_DIR it is said once
        if found and found[0] != RUN_DIR:
            sentence = '%s, and %s is not for root alone: %s. Whoever can write there becomes root. %s' % (what, found[0], found[1], remedy)
            if sentence not in sentences:
                sentences.append(sentence)

    def _tell_untold(self, own, what, value):
        told = value.replace(UNKNOWN, '%(_)')
        self._of(own).append('%s, and it can not be told where %s is. Write its path without placeholders' % (what, told))

    def _is_single(self, option):
        """Whether an option is there no more than once, so that uWSGI tells what its placeholders stand for: --get prints one value."""
        return [one[0] for one in self.opened].count(option) <= 1

    def look_at_reads(self, reads):
        for path, own in reads:
            if PLACEHOLDER.search(path):
                said = 'root reads its configuration from %s, and it can not be told which file that is. Write its path' % path
                self._of(own).append(said)
                continue
            for one, found in _alterable.alterable_ways(path)[-1:]:
                self._tell(own, 'root reads its configuration from %s' % one, found, _TO_ROOT)

    def look_at_commands(self, env):
        directory = self.directory or self.enabled_dir
        commands = [(Command(option, value, directory), own) for option, value, own in self.opened if _is_run(option, value)]
        variables = list(env) + [value for option, value, dummy in self.opened if option == 'env']
        variables += [command.variable for command, dummy in commands if command.variable]
        for command, own in commands:
            self._look_at_command(command, own, variables)

    def _look_at_command(self, command, own, variables):
        may = 'may still be' if command.option in AT_EXIT + LOGGERS else 'is still'
        root = 'uWSGI %s root when it runs its %s' % (may, command.option)
        if command.untold:
            told = command.text.replace(UNKNOWN, '%(_)').strip()
            self._of(own).append('%s, and it can not be told what %s is. Write its path' % (root, told))
            return
        open_to_others = command.runs and _alterable.alterable(command.directory)
        self._tell(own, '%s in %s' % (root, command.directory), open_to_others, 'Begin it with cd / &&')
        look = _alterable.open_above if command.by_path else _alterable.alterable
        # where all of the directory is open to others, so is each word that may be a file there
        for path in command.paths(absolute=bool(open_to_others)):
            self._tell(own, '%s, %s' % (root, path), look(path), _TO_ROOT)
        for variable in variables if command.runs and not command.clean else []:
            said = 'root may run %s by its %s with %s in the environment' % (command.text.strip(), command.option, variable.partition('=')[0])
            for path in command.led_to(variable):
                self._tell(own, said, _alterable.alterable(path), 'Run it by /usr/bin/env -i')

    def look_at_what_is_read_as_root(self):
        for option, value, own in self.opened:
            if option in KEEPS_ROOT and is_true(value):
                said = 'uWSGI is still root when it loads the interpreter or the application, by its %s. Leave that out' % option
                self._of(own).append(said)
            if option not in READS_AS_ROOT:
                continue
            if PLACEHOLDER.search(value):
                if option not in self.options or not self._is_single(option):
                    self._tell_untold(own, 'uWSGI is still root when it reads its %s for the application' % option, value)
                value = self.options.get(option, value)
            paths = re.findall(r'(?:^|(?<=[,= ;]))/[^,; ]+', value)
            if option in READS_IN_CHDIR:
                # after the name of a cache
                paths = [os.path.join(self.directory or '/', value.partition(' ')[2] or value)]
            for path in paths:
                said = 'uWSGI is still root when it reads its %s, %s, for the application' % (option, path)
                self._tell(own, said, _alterable.alterable(path), _TO_ROOT)

    def look_at_spoolers(self):
        for option, value, own in self.opened:
            if option in SPOOLERS and value.startswith('/') and not PLACEHOLDER.search(value) and not os.path.isdir(value):
                # core/spooler.c makes it while uWSGI reads the option
                said = 'uWSGI is still root when it makes the directory of its %s, %s' % (option, value)
                self._tell(own, said, _alterable.open_above(value), 'Make it for the user')

    def look_at_what_is_removed(self):
        """What uWSGI removes when it exits, which is as root where it exits before it has dropped root."""
        if not any(option == 'vacuum' and is_true(value) for option, value, dummy in self.opened):
            return
        for option, value, dummy in self.opened:
            said = self.options.get(option, '') if PLACEHOLDER.search(value) else value
            for path in paths_of(option, said, self.directory) if option in REMOVES else []:
                # whatever lies there may go; another file of that name, where the directory is replaced
                found = _alterable.open_above(os.path.dirname(path))
                if found and found[0] != RUN_DIR:
                    # of the name that the configuration gives, wherever that lies: not enough to refuse what many have
                    what = 'with vacuum uWSGI may still be root when it removes its %s, %s, and %s is not for root alone: %s. Leave vacuum out'
                    self.others.append(what % ((option, path) + found))

    def look_at_what_is_opened(self):
        places = [one for one in self.opened if one[0] in OPENS]
        for option, value in sorted(self.options.items()):
            owners = [own for key, dummy, own in places if key == option]
            if option in OPENS and (option, value) not in [one[:2] for one in places]:
                # what placeholders stand for
                places.append((option, value, any(owners)))
        for option, value, own in places:
            # where uWSGI was not asked there may be a chown-socket
            if option not in AS_ROOT and self.options and not self.options.get('chown-socket'):
                continue
            said = 'uWSGI is still root when it opens its %s' % option
            if not PLACEHOLDER.search(value):
                keep = 'Keep it in ' + ('/var/log/uwsgi' if option.startswith('log') else RUN_DIR)
                for path in paths_of(option, value, self.directory if option in BEFORE_BIND else self.options.get('force-cwd')):
                    found = _alterable.open_above(path)
                    if option in DIRECTORIES:
                        path, keep = value, _TO_ROOT
                    self._tell(own, '%s, %s' % (said, path), found, keep)
            elif not self._is_single(option) and not (option.endswith('socket') and ':' in value):
                self._tell_untold(own, said, value)


def _is_run(option, value):
    """Whether root may run, load or change something by an option."""
    return option in RUNS_AS_ROOT or option in LOGGERS and 'pipe:' in value
