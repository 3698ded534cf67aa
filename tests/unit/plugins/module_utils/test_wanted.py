# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import VassalError
from ansible_collections.uwsgi.emperor.plugins.module_utils._wanted import Probe, Wanted, check_mode, find_id, find_wanted


class Files(object):
    """Two vassals, of which one is enabled."""

    @staticmethod
    def known():
        return {'a': 'a.ini', 'b': 'b.ini'}

    @staticmethod
    def enabled():
        return {'a': 'a.ini'}


def task(**given):
    """A task's parameters."""
    keys = ('name', 'vassals', 'config', 'content', 'env', 'probe', 'mode', 'owner', 'group')
    return dict(dict.fromkeys(keys), state='enabled', **given) if 'state' not in given else dict(dict.fromkeys(keys), **given)


@pytest.mark.parametrize('state, names', [('enabled', ['a', 'b']), ('disabled', ['a', 'b']), ('reloaded', ['a']), ('restarted', ['a'])])
def test_a_pattern_is_matched_with_what_the_state_may_mean(state, names):
    assert sorted(one.name for one in find_wanted(task(name=['*'], state=state), Files)) == names


@pytest.mark.parametrize(
    'value, said',
    [
        (7, 'not a dict'),
        (dict(confg={}), 'has no option confg'),
        (dict(state='up'), 'state is up, not one of'),
        (dict(config=[]), 'config is not a dict'),
        (dict(env='A=1'), 'env is not a dict'),
        (dict(content={}), 'content is not a text'),
        (dict(probe=7), 'probe is a dict of path, status and host'),
        (dict(probe=dict(path='/', code=200)), 'probe is a dict of path, status and host'),
        (dict(config={}, content=u''), 'config and content exclude each other'),
    ],
)
def test_what_is_wrong_with_one_of_many_names_it(value, said):
    with pytest.raises(VassalError) as error:
        find_wanted(task(vassals=dict(shop=value)), Files)
    assert 'shop: ' in str(error.value) and said in str(error.value)


def test_what_a_value_does_not_say_is_the_tasks():
    given = dict(shop=None, wiki=dict(state='disabled', probe=dict(path='/w'), mode='0600', content=u'[uwsgi]'))
    shop, wiki = sorted(find_wanted(task(vassals=given, mode='0640', probe=dict(path='/', status=[200], host='x')), Files), key=lambda one: one.name)
    assert (shop.state, shop.probe.path, shop.mode(0)) == ('enabled', '/', 0o640)
    assert (wiki.state, wiki.probe.path, wiki.probe.status, wiki.mode(0)) == ('disabled', '/w', [200], 0o600)
    # what shall not run is not written
    assert wiki.text is None
    assert Wanted('wiki', 'enabled', content=u'[uwsgi]').text == b'[uwsgi]\n'


@pytest.mark.parametrize(
    'mode, base, found', [('0640', 0, 0o640), (0o600, 0, 0o600), ('u=rw,g=r,o=', 0, 0o640), ('g-r', 0o640, 0o600), ('o+r', 0o640, 0o644)]
)
def test_a_mode_is_a_number_or_symbols(mode, base, found):
    assert check_mode('a', mode)(base) == found


@pytest.mark.parametrize('mode', ['rw', '0999', '10000', '-1', True, 'u=rw,x'])
def test_a_mode_that_is_none_is_told(mode):
    with pytest.raises(VassalError, match="a: mode: .* is no mode of a file; it is octal and quoted, '0640'"):
        check_mode('a', mode)


def test_who_is_not_there_is_told():
    assert find_id('a', 'user', '12', None) == 12 and find_id('a', 'user', 'x', dict(x=7).__getitem__) == 7
    with pytest.raises(VassalError, match='a: there is no user x on this host; make it first. Nothing was changed.'):
        find_id('a', 'user', 'x', {}.__getitem__)


@pytest.mark.parametrize(
    'status, problem, said',
    [
        (200, None, None),
        (302, 'it went on for too long', None),
        (500, None, 'the probe of /x got status 500, not 200 or 302'),
        (None, None, 'the probe of /x got no HTTP answer, not 200 or 302'),
        (None, 'nobody listens', 'nobody listens'),
    ],
)
def test_what_is_wrong_with_an_answer(status, problem, said):
    assert Probe('/x', [200, 302], 'h').verdict(status, problem) == said
