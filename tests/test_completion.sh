#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Loads the completions into bash and completes command lines: test_completion.sh SOURCE WALCTL WALFS. TAP output.
set -u

# shellcheck source=/dev/null # given by the caller
. "$1/packaging/bash-completion/walctl" && . "$1/packaging/bash-completion/walfs" || exit 99
PATH=$(dirname "$2"):$(dirname "$3"):$PATH

dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 99
mkdir "with space" && "$2" init store >made && for s in orders "two words" invoices; do "$2" append --create store "$s" </dev/null; done >>made &&
	"$2" checkpoint create store monday && "$2" checkpoint create store sunday || exit 99
: >file

number=0
failures=0

# completes WORD… -- REPLY…: the words are what readline makes of the line, the last one is being typed; all replies, sorted
completes() {
	local words=() function

	number=$((number + 1))
	while [ "$1" != -- ]; do
		words+=("$1")
		shift
	done
	shift
	COMP_WORDS=("${words[@]}")
	COMP_CWORD=$((${#words[@]} - 1))
	COMPREPLY=()
	function=$(complete -p "${words[0]}" | sed 's/.*-F \([^ ]*\).*/\1/')
	"$function" "${words[0]}" "${words[COMP_CWORD]}" "${words[COMP_CWORD - 1]}"
	if [ "$(printf '%s\n' "${COMPREPLY[@]}" | sort)" = "$(printf '%s\n' "$@" | sort)" ]; then
		echo "ok $number - ${words[*]}"
	else
		echo "not ok $number - ${words[*]}"
		printf '# expected: %s\n' "$@"
		printf '# found: %s\n' "${COMPREPLY[@]}"
		failures=$((failures + 1))
	fi
}

# offers WORD… -- REPLY…: these and others
offers() {
	local words=() reply missing=

	while [ "$1" != -- ]; do
		words+=("$1")
		shift
	done
	shift
	number=$((number + 1))
	COMP_WORDS=("${words[@]}")
	COMP_CWORD=$((${#words[@]} - 1))
	COMPREPLY=()
	"_${words[0]}" "${words[0]}" "${words[COMP_CWORD]}" "${words[COMP_CWORD - 1]}"
	for reply; do
		[[ " ${COMPREPLY[*]} " == *" $reply "* ]] || missing+=" $reply"
	done
	[ -z "$missing" ] && echo "ok $number - ${words[*]}" && return
	echo "not ok $number - ${words[*]}"
	echo "# missing:$missing; found: ${COMPREPLY[*]}"
	failures=$((failures + 1))
}

completes walctl che -- checkpoint
completes walctl re -- repair restore
completes walctl ro -- rotate route
# each verb that help has, and nothing else
mapfile -t verbs < <("$2" help | sed -n 's/^  \([a-z]*\) .*STORE.*/\1/p' | sort -u)
[ "${#verbs[@]}" -ge 10 ] || exit 99
completes walctl '' -- "${verbs[@]}" help
completes walctl checkpoint '' -- create show list rm compact
completes walctl help rou -- route
completes walctl help checkpoint sh -- show
completes walctl --v -- --version
completes walctl append --ba -- --batch
completes walctl append --l -- --lines
completes walctl import --from = o -- oxirs
completes walctl import --from = files f -- file
completes walctl import --from = files file s -- store
completes walctl import --from = files file store i -- invoices
completes walctl checkpoint compact --k -- --keep=
completes walctl stat --sy -- --sync=
completes walctl stat --sync = -- strict batch async
completes walctl stat --sync = b -- batch
completes walctl stat --compression = '' -- none lz4
completes walctl stat --on-corruption = tr -- truncate
completes walctl ls st -- store
completes walctl ls wi -- "with space"
completes walctl ls fil --
completes walctl ls store '' -- orders "two\\ words" invoices
completes walctl cat store t -- "two\\ words"
completes walctl ls --sync = strict store or -- orders
completes walctl cat store orders l -- last
completes walctl append store orders fil -- file
completes walctl stat store orders inv -- invoices
completes walctl checkpoint show store '' -- monday sunday
completes walctl checkpoint rm store monday s -- sunday
completes walctl prune store --checkpoint = m -- monday
completes walctl init nowhere '' --
completes walctl export store t -- "two\\ words"
completes walctl export --to = '' -- tar files lines jsonl
completes walctl export store --checkpoint = m -- monday
completes walctl restore store fil -- file
completes walctl copy store wi -- "with space"
completes walctl ls nowhere '' --
completes walctl frobnicate store '' --
completes walfs st -- store
completes walfs store wi -- "with space"
completes walfs - -- -o -f -d -s -h -V
completes walfs store mnt -o sy -- sync=
completes walfs store mnt -o allow_other,max_o -- allow_other,max_open_segments=
completes walfs store mnt -o sync = -- strict batch async
completes walfs store mnt -o allow_other,sync = as -- async
completes walfs store mnt -o sync = strict,noe --
completes walfs store mnt -o sync = strict,none -- strict,nonempty
completes walfs store mnt -o segment_size = '' --
offers walfs store mnt -o '' -- ro uid= umask= allow_other compression= sync=
echo "1..$number"
exit $((failures > 0))
