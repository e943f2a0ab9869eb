#!/usr/bin/env bash
# evener under a real systemd, as packaged: the unit files are valid and its exposure is at most 2.0; it
# starts, serves, stops and restarts inside its sandbox; with the socket unit no client is refused over
# restarts; the watchdog restarts one that hangs. systemd runs as PID 1 of a container over a
# copy-on-write view of this machine, which is thrown away.
source "$(dirname "${BASH_SOURCE[0]}")/lib"
need systemd-analyze systemd
need systemd-nspawn systemd-container
((EUID == 0)) || fail "systemd-nspawn takes root, try: sudo -E scripts/acceptance --only systemd"

scripts/build-deb >"$scratch/build.log" 2>&1 || fail "scripts/build-deb fails"
package="$(tail -n 1 "$scratch/build.log")"

# --- the unit files by themselves ---

systemd-analyze security --offline=yes --threshold=20 packaging/systemd/evener.service \
    >"$scratch/security.log" 2>&1 || fail "the unit is exposed to more than 2.0"
ok "$(tail -n 1 "$scratch/security.log" | tr -d '→' | xargs)"

# --- a machine ---

view="$scratch/view"
mkdir "$scratch/changes" "$view"
mount -t tmpfs changes "$scratch/changes"
mkdir "$scratch/changes/"{upper,work}
mount -t overlay view -o "lowerdir=/,upperdir=$scratch/changes/upper,workdir=$scratch/changes/work" "$view"

clean_up_view() {
    umount -l "$view" "$scratch/changes" || true
    clean_up
}
trap clean_up_view EXIT

: >"$view/etc/machine-id"
cp "$package" "$view/evener.deb"
cp "$bin/backend" "$view/usr/local/bin/backend"
chroot "$view" dpkg -i /evener.deb >"$scratch/install.log" 2>&1 || fail "dpkg can't install it"
chroot "$view" systemd-analyze verify /lib/systemd/system/evener.{service,socket} >"$scratch/verify.log" 2>&1 || true
# systemd before 253 says that it does not know this type, and takes the one before: as the unit says.
! grep -v 'service type, ignoring: notify-reload' "$scratch/verify.log" | grep -i evener ||
    fail "systemd-analyze verify finds faults"
ok "systemd-analyze verify finds no fault"

# What runs inside, as a service that ends the container.
cat >"$view/root/inside" <<'INSIDE'
#!/usr/bin/env bash
set -uo pipefail

check() {
    local what="$1"
    shift
    if "$@"; then
        echo "ok   $what"
    else
        echo "FAIL $what"
        systemctl --no-pager --full --lines=0 status evener.service
        journalctl --no-pager -u evener -n 25
        exit 1
    fi
}
property() {
    systemctl show --value --property="$1" evener.service
}
serves() {
    curl --silent --fail --max-time 10 --noproxy '*' http://127.0.0.1:8080/ | grep -q '^Hello'
}
main_pid() {
    property MainPID
}
eventually() {
    local i
    for ((i = 0; i < 300; i++)); do
        "$@" && return
        sleep 0.1
    done
    return 1
}

for port in 8000 8001 8002; do
    systemd-run --quiet --unit="backend-$port" /usr/local/bin/backend "$port"
done

check "systemctl start waits until it serves" systemctl start evener.service
check "it serves" serves
check "it is the user evener" test "$(ps -o user= -p "$(main_pid)")" = evener
check "system calls are filtered" grep -q '^Seccomp:[[:space:]]*2' "/proc/$(main_pid)/status"
check "systemd knows what it does" test "$(property StatusText)" = serving
check "its threads run as a batch" test "$(chrt -p "$(main_pid)" | sed -n '1s/.*: //p')" = SCHED_BATCH
# A container that may not have as many as the unit asks for gives what it has.
read -r soft hard < <(awk '/Max open files/ { print $4, $5 }' "/proc/$(main_pid)/limits")
check "it has raised its descriptors to $soft" test "$soft" = "$hard"
complaints="$(journalctl --quiet --no-pager -u evener -o cat | grep -E '^[^ ]+Z (warn|error) ' || true)"
check "nothing was refused to it" test -z "$complaints"

before="$(main_pid)"
check "systemctl reload reloads" systemctl reload evener.service
check "in the same process" test "$(main_pid)" = "$before"

start="$(date +%s%N)"
check "systemctl stop ends it in order" systemctl stop evener.service
check "at once" test $(($(date +%s%N) - start)) -lt 5000000000
check "with success" test "$(property Result)" = success

# --- socket activation ---

echo 'log: { connections: false }' >>/etc/evener/evener.yaml
check "systemctl start evener.socket opens the port" systemctl start evener.socket
check "the first client starts evener" serves
clients() {
    while [[ ! -e /run/enough ]]; do
        serves || echo "a client was refused" >>/run/refused
        echo >>/run/asked
    done
}
clients_come() {
    rm -f /run/enough /run/asked
    clients & clients &
}
clients_go() {
    touch /run/enough
    wait
}
clients_come
for _ in 1 2 3 4 5; do
    check "a restart" systemctl restart evener.service
done
clients_go
# The socket unit and the config are both as the package has them.
complaints="$(journalctl --quiet --no-pager -u evener -o cat | grep 'inherited socket' || true)"
check "the socket of the package is the one of its config" test -z "$complaints"
check "over five restarts, none of $(wc -l </run/asked) clients was refused" test ! -e /run/refused

# --- the watchdog ---

mkdir -p /run/systemd/system/evener.service.d
printf '[Service]\nWatchdogSec=1\nTimeoutAbortSec=1\n' >/run/systemd/system/evener.service.d/watchdog.conf
systemctl daemon-reload
check "it restarts with a watchdog of 1 s" systemctl restart evener.service
before="$(main_pid)"
sleep 3
check "it is left alone while it lives" test "$(main_pid)" = "$before"
kill -STOP "$before"
is_another() {
    [[ $(main_pid) != "$before" && $(property ActiveState) == active ]] && serves
}
check "one that hangs is restarted" eventually is_another

# --- a drain that is longer than TimeoutStopSec= ---

printf '[Service]\nTimeoutStopSec=1\n' >/run/systemd/system/evener.service.d/stop.conf
systemctl daemon-reload
check "it restarts with a TimeoutStopSec of 1 s" systemctl restart evener.service
exec {client}<>/dev/tcp/127.0.0.1/8080
sleep 0.5
systemctl stop evener.service &
sleep 3
check "its last session may end in its own time" test "$(property ActiveState)" = deactivating
exec {client}>&-
wait
check "which systemd waits for" test "$(property Result)" = success
systemctl start evener.service

# --- an upgrade ---

before="$(main_pid)"
clients_come
systemctl kill --signal=USR2 --kill-whom=main evener.service
check "SIGUSR2 puts another process in its place" eventually is_another
is_gone() {
    [[ ! -e /proc/$before ]]
}
check "the old one ends" eventually is_gone
clients_go
check "over the upgrade, none of $(wc -l </run/asked) clients was refused" test ! -e /run/refused
before="$(main_pid)"
sleep 3
check "the watchdog hears the new one" test "$(main_pid)" = "$before"
check "which systemctl restarts like any other" systemctl restart evener.service
check "it serves" serves
echo done
INSIDE
chmod +x "$view/root/inside"
cat >"$view/etc/systemd/system/inside.service" <<'UNIT'
[Unit]
After=basic.target
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
ExecStart=/root/inside
StandardOutput=file:/root/inside.log
StandardError=file:/root/inside.log
TimeoutStartSec=120
UNIT
cat >"$view/etc/systemd/system/acceptance.target" <<'UNIT'
[Unit]
Requires=basic.target inside.service
AllowIsolate=yes
UNIT

# A network of its own: ports 8000 to 8080 are free there.
timeout --kill-after 10 200 systemd-nspawn --quiet --directory="$view" --register=no --keep-unit \
    --private-network --console=pipe --boot systemd.unit=acceptance.target \
    >"$scratch/boot.log" 2>&1 </dev/null || true
cp "$view/root/inside.log" "$scratch/inside.log" || fail "systemd did not start"
[[ $(tail -n 1 "$scratch/inside.log") == done ]] || fail "inside"
grep '^ok' "$scratch/inside.log"
