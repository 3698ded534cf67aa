# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Who may read and write a vassal's files, as (mode, user ID, group ID). Pure.

uWSGI reads them as root when it starts, and once more as the application's user when it reloads.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

# Root writes, the application's own group reads, nobody else.
MODE = 0o640


def wanted_access(found, writes, gid, mode=None, owner=None, group=None):
    """The access that a file should have, None where nothing is asked for or known.

    found: its access so far, None where it is not there.
    writes: whether the module gives its text, and so its access by default.
    gid: the application's own group, None where it is not known.
    mode: a function of the mode that it would have otherwise, or None; owner, group: IDs or None, all of them what the user asks for.
    """
    if not writes:
        base = found
    elif found is not None and found[1] == 0 and not found[0] & 0o077:
        # for root alone: the administrator has closed it
        base = found
    elif gid is None and group is None:
        return None
    else:
        base = MODE, 0, gid
    if base is None:
        return None
    return (
        base[0] if mode is None else mode(base[0]),
        base[1] if owner is None else owner,
        base[2] if group is None else group,
    )


def may_read(access, uid, groups):
    """Whether a user in these groups may read a file."""
    mode, owner, group = access
    if uid == 0:
        return True
    if uid == owner:
        return bool(mode & 0o400)
    return bool(mode & (0o040 if group in groups else 0o004))


def runs_as_another(situation, identity):
    """Whether a vassal runs as another user or group than its configuration names, as identity(): only a restart, as root, changes that."""
    if identity is None or identity[0] is None or not situation.credentials:
        return False
    uid, groups = situation.credentials
    return identity != (uid, groups[0])


def settle_access(situation, plan, access=None, env_access=None, identity=None):
    """A vassal's plan with what the access of its files asks for: a `chmod`, and a restart in place of a reload that would not do.

    access, env_access: the wanted access of its file and of its environment's, None to leave it.
    identity: where a reload reads the files, or they have changed, the user ID and the group ID that its configuration names, the first None
    where it is not sure that a restart would bring them.
    """
    if not plan.wants_up:
        return plan
    actions, mode = list(plan.actions), plan.mode
    files = [('write', situation.access, access), ('env', situation.env_access, env_access)]
    if any(action not in actions and None not in (found, wanted) and found != wanted for action, found, wanted in files):
        actions.insert(1 if 'write' in actions else 0, 'chmod')
    if mode in (None, 'reload') and runs_as_another(situation, identity):
        actions, mode = [action for action in actions if action != 'reload'] + ['restart'], 'restart'
    elif mode == 'reload' and identity is not None and situation.credentials:
        uid, groups = situation.credentials
        left = [wanted or found for dummy, found, wanted in files]
        # root is gone by then: it can not read what is closed to its user
        if not all(may_read(one, uid, groups) for one in left if one):
            actions[actions.index('reload')] = mode = 'restart'
    return plan._replace(actions=tuple(actions), mode=mode)
