# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import re

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils import _environment
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import visible
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import VassalError

AWKWARD = [
    u'%', u'%%', u'%n', u'%(uid)', u'%(_)', u'%(_) ', u'%%(_)(_) ', u'$(HOME)', u'@(/etc/passwd)', u'  both ends \t', u' ', u'', u'"', u'# a', u'; a', u'a=b',
    u'\\n', u'Gr\xfc\xdfe \u7687', u'\u2028\x85\x0b', u'endif =', u'[uwsgi]',
]  # fmt: skip


def read(text):
    """The variables of a file as uWSGI sees them: a model of core/ini.c, magic_sub() and uwsgi_logic_opt_if_opt()."""
    env, options, logic = {}, {}, None
    assert text.endswith(u'\n')
    for line in text.replace(u'%%', u'\0').split(u'\n'):
        # a % takes the next character with it
        assert u'%' not in line.replace(u'%(', u'')
        key, dummy, value = line.replace(u'\0', u'%').strip(u' \t\r').partition(u'=')
        key, value = key.strip(u' \t\r'), value.strip(u' \t\r')
        if key[:1] in (u'', u'[', u'#', u';'):
            continue
        if key == u'endif':
            logic = None
            continue
        if logic is not None:
            assert logic in options
            value = value.replace(u'%(_)', options[logic])
        if key == u'set-ph':
            options.update([value.split(u'=', 1)])
        elif key == u'if-opt':
            logic = value
        else:
            assert key == u'env'
            env.update([value.split(u'=', 1)])
    return env


def test_each_value_is_read_as_it_was_given():
    env = dict((u'A%d' % number, value) for number, value in enumerate(AWKWARD))
    text = _environment.render(_environment.values(u'a', env))
    assert read(text) == env
    assert _environment.parse(text.encode('utf-8')) == env


def test_values_become_text():
    given = {'A': 1, 'B': True, 'C': False, 'D': 1.5, 'E': 'x', 'F': b'y', 'G': u''}
    assert _environment.values(u'a', given) == {u'A': u'1', u'B': u'true', u'C': u'false', u'D': u'1.5', u'E': u'x', u'F': u'y', u'G': u''}


@pytest.mark.parametrize('name', [u'', u'1A', u'A B', u'A=B', u'A\n', u'\xc4', u'A-B', u'UWSGI_WORKERS'])
def test_a_name_that_can_not_be_is_told_without_the_value(name):
    with pytest.raises(VassalError) as error:
        _environment.values(u'shop', {name: u's3cret'})
    assert 'shop: env: ' in str(error.value) and 's3cret' not in str(error.value)


@pytest.mark.parametrize('value', [u's3cret\n', u's3cret\rx', u's3cret\0', None, [u's3cret'], {u's3cret': 1}])
def test_a_value_that_can_not_be_is_told_by_its_name(value):
    with pytest.raises(VassalError) as error:
        _environment.values(u'shop', {u'TOKEN': value})
    assert 'TOKEN' in str(error.value) and 's3cret' not in str(error.value)


def test_what_differs_is_told_by_names():
    before, after = _environment.changes({u'A': u'1', u'B': u'2', u'C': u'3'}, {u'B': u'2', u'C': u'4', u'D': u'5'})
    assert before == u'A = ********\nB = ********\nC = ********\n'
    assert after == u'B = ********\nC = ******** (changed)\nD = ********\n'


try:
    from urllib.parse import quote, quote_plus
except ImportError:
    from urllib import quote, quote_plus

VALUES = [u'pa"ss\'word9', u'tab\there-s3cret', u's\xe9cret-\xfcn\xef', u'plain-s3cret \x1b x', u'C:\\new\\', u'smile-\U0001f600', u'a/b c%d&', u'x\u2028y-y']


@pytest.mark.parametrize('value', VALUES, ids=['value-%d' % number for number in range(len(VALUES))])
def test_a_value_is_taken_out_as_whoever_writes_it(value):
    data = value.encode('utf-8')
    said = [value, repr(value), repr(data), repr(repr(value)), json.dumps(value), json.dumps(value, ensure_ascii=False), json.dumps(json.dumps(value))]
    said += [quote_plus(data), value.replace(u'&', u'&amp;').replace(u'"', u'&quot;').replace(u"'", u'&#x27;')]
    said += [visible(value), visible(repr(value)), quote(data), re.sub('%..', lambda found: found.group().lower(), quote(data))]
    for line in map(_environment.to_native, said):
        found = _environment.mask('<' + line + '>', [value])
        assert '********' in found and found.replace('********', '').strip('ub<>"\'\\') == '', (line, found)
    assert _environment.mask('what else is said', [value]) == 'what else is said'


@pytest.mark.parametrize('line', ['\\', '%', 'here-s3cre', '\\x'], ids=['backslashes', 'percents', 'beginnings', 'escapes'])
def test_what_an_application_writes_does_not_choose_how_long_values_are_looked_for(line):
    # where the time grew with the square of the length, this would not end
    text = line * (1 << 20)
    assert _environment.mask(text, [u'here-s3cret', u'a\\\\b"\'c']) == text


def test_values_are_taken_out_of_what_others_say():
    hidden = _environment.secrets({u'A': u'hunter2', u'B': u'hunter2-again', u'C': u'1', u'D': u' padded ', u'E': u'C:\\new', u'F': u'gr\xfcn'})
    said = [u"login: hunter2-again, hunter2, 1, padded.", u"KeyError: 'C:\\\\new' C:\\new", u'gr\xfcn']
    masked = _environment.mask_lines([_environment.to_native(line) for line in said], hidden)
    assert masked == ['login: ********, ********, 1, ********.', "KeyError: '********' ********", '********']


LINES = '\n'.join(_environment.lines_needed('/etc/uwsgi/apps-env'))


@pytest.mark.parametrize(
    'text, expected',
    [
        ('[uwsgi]\n%s\n' % LINES, True),
        ('[uwsgi]\nmaster = true\n  %s\nworkers = 2\n' % LINES.replace(' = ', '='), True),
        ('[uwsgi]\n', False),
        ('[uwsgi]\n%s\n' % LINES.replace('inherit', 'include'), False),
        ('[uwsgi]\n#%s\n' % LINES.replace('\n', '\n#'), False),
        ('[uwsgi]\n%s\n' % LINES.replace('%N', '%n'), False),
    ],
)
def test_defaults_that_read_the_environment_are_known(text, expected):
    assert _environment.is_read('/etc/uwsgi/apps-env', text.encode('utf-8')) is expected
