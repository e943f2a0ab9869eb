#!/usr/bin/env bash
# The Debian package, from its build to its purge: lintian finds no error; dpkg installs it; evener runs
# as its own user, under the limits of the unit file, with the packaged config; after the purge no
# file and no user is left. dpkg works on a copy-on-write view of this machine, which is thrown away.
source "$(dirname "${BASH_SOURCE[0]}")/lib"
need lintian lintian
need setpriv util-linux
need curl curl
((EUID == 0)) || fail "dpkg takes root, try: sudo -E scripts/acceptance --only deb"

scripts/build-deb >"$scratch/build.log" 2>&1 || fail "scripts/build-deb fails"
package="$(realpath "$(tail -n 1 "$scratch/build.log")")"
ok "it builds: $(basename "$package"), $(stat -c %s "$package") bytes"

cp "$package" "$scratch/first.deb"
scripts/build-deb >"$scratch/build.log" 2>&1 || fail "scripts/build-deb fails the second time"
cmp -s "$package" "$scratch/first.deb" || fail "built again, it is another one"
ok "built again, it is the same"

lintian --allow-root --fail-on error "$package" >"$scratch/lintian.log" 2>&1 || fail "lintian finds errors"
ok "lintian finds no error and $(grep -c '^W:' "$scratch/lintian.log" || true) warnings"

# --- a view of this machine that dpkg may change ---

view="$scratch/view"
mkdir "$scratch/changes" "$view"
mount -t tmpfs changes "$scratch/changes"
mkdir "$scratch/changes/"{upper,work}
mount -t overlay view -o "lowerdir=/,upperdir=$scratch/changes/upper,workdir=$scratch/changes/work" "$view"
mount --rbind /proc "$view/proc"
mount --make-rslave "$view/proc"

clean_up_view() {
    umount -l "$view/proc" "$view" "$scratch/changes" || true
    clean_up
}
trap clean_up_view EXIT

in_view() {
    chroot "$view" env DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# Every path outside of the package system's own notes, and every user.
inventory() {
    (cd "$view" && find etc usr lib var/lib/systemd run -xdev 2>/dev/null |
        grep -vE '^(etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$|usr/share/man/.*cat|etc/ld.so.cache)' | sort)
    in_view getent passwd
    in_view getent group
}

need adduser adduser
inventory >"$scratch/before"

# As it is on a machine with systemd, except that nothing is started here.
cp "$package" "$view/evener.deb"
in_view dpkg -i /evener.deb >"$scratch/install.log" 2>&1 || fail "dpkg can't install it"
user="$(in_view getent passwd evener)" || fail "there is no user evener"
[[ $user == *:/nonexistent:/usr/sbin/nologin ]] || fail "the user can log in: $user"
ok "dpkg installs it, with the user $user"
in_view dpkg --verify evener >"$scratch/verify.log" && [[ ! -s $scratch/verify.log ]] ||
    fail "what is installed is not what was packaged"
ok "every file is as it was packaged"

# --- as the unit would run it ---

unit="$view/lib/systemd/system/evener.service"
value() {
    sed -n "s/^$1=//p" "$unit" | tail -n 1
}
in_view evener check /etc/evener/evener.yaml >"$scratch/check.log" 2>&1 || fail "the packaged config is wrong"
choose_port listen
choose_port backend
sed -i "s/8080\"/${ports[listen]}\"/; s/127.0.0.1:8000/127.0.0.1:${ports[backend]}/" "$view/etc/evener/evener.yaml"
start backend "$bin/backend" "${ports[backend]}"
wait_for backend "started on port"

uid="$(cut -d: -f 3 <<<"$user")"
gid="$(cut -d: -f 4 <<<"$user")"
capability="$(value CapabilityBoundingSet | sed 's/CAP_/+/' | tr '[:upper:]' '[:lower:]')"
# A machine that is a container itself may not raise its limits.
descriptors="$(value LimitNOFILE)"
hard="$(ulimit -Hn)"
[[ $hard == unlimited ]] || ((hard >= descriptors)) || descriptors="$hard"
run_as_unit() {
    # shellcheck disable=SC2046 # the words of ExecStart= are words
    exec prlimit --nofile="$descriptors" \
        chroot "$view" setpriv --reuid "$uid" --regid "$gid" --clear-groups --no-new-privs \
        --inh-caps="-all,$capability" --ambient-caps="-all,$capability" --bounding-set="-all,$capability" \
        $(value ExecStart)
}
start evener run_as_unit
wait_for evener "Load Balancer started on"
ask 127.0.0.1 "http://127.0.0.1:${ports[listen]}/"
expect_answer "Hello from Backend Server on port: ${ports[backend]}"
status="/proc/${pids[evener]}/status"
[[ $(awk '$1 == "Uid:" { print $2, $3, $4 }' "$status") == "$uid $uid $uid" ]] || fail "it runs as another user"
# 0x400 is CAP_NET_BIND_SERVICE alone.
[[ $(awk '$1 == "CapBnd:" { print $2 }' "$status") == 0000000000000400 ]] || fail "it may do too much"
ok "it serves as user $uid, whose only privilege is ${capability#+}"
stop evener

# --- away with it ---

in_view dpkg -i /evener.deb >"$scratch/again.log" 2>&1 </dev/null || fail "dpkg can't install it over itself"
grep -q "${ports[listen]}" "$view/etc/evener/evener.yaml" || fail "an upgrade overwrites the config"
ok "an upgrade keeps the administrator's config"

in_view dpkg -r evener >"$scratch/remove.log" 2>&1 || fail "dpkg can't remove it"
[[ -e $view/etc/evener/evener.yaml && ! -e $view/usr/sbin/evener ]] || fail "removing it is not what it says"
echo secret >"$view/etc/evener/token"
in_view dpkg -P evener >"$scratch/purge.log" 2>&1 || fail "dpkg can't purge it"
inventory >"$scratch/after"
diff "$scratch/before" "$scratch/after" >"$scratch/left.log" || fail "the purge leaves something"
ok "after the purge nothing is left: no file, no user"
