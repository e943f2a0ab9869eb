#!/usr/bin/env bash
# The static binary needs nothing: it serves in a root directory that holds what the Dockerfile puts into
# the image and no other file, as the Dockerfile's user. There is no docker here; the directory is put
# together from the Dockerfile's own lines.
source "$(dirname "${BASH_SOURCE[0]}")/lib"
need curl curl
((EUID == 0)) || fail "chroot takes root, try: sudo -E scripts/acceptance --only scratch"

readonly DOCKERFILE=packaging/docker/Dockerfile

# The value of the Dockerfile's line WORD.
line() {
    sed -n "s/^$1 //p" "$DOCKERFILE"
}

target="$(line ARG)"
[[ $(uname -m) == x86_64 ]] || target=TARGET=aarch64-unknown-linux-musl
scripts/build-static >"$scratch/build.log" 2>&1 || fail "scripts/build-static fails"
ok "$(tail -n 1 "$scratch/build.log")"

[[ $(line FROM) == scratch ]] || fail "the image is not made from nothing"
root="$scratch/root"
mkdir "$root"
while read -r source destination; do
    source="${source//'${TARGET}'/"${target#TARGET=}"}"
    cp "${source/#target\//"${CARGO_TARGET_DIR:-target}/"}" "$root$destination" ||
        fail "the image has no $source"
done < <(line COPY)
ok "every file that the image takes is there: $(cd "$root" && find . -type f)"

choose_port backend
choose_port evener
choose_port admin
start backend "$bin/backend" "${ports[backend]}"
wait_for backend "started on port"
entry="$(line ENTRYPOINT | tr -d '[]" ')"

# Runs the image's program with these arguments, in the image.
image() {
    exec chroot --userspec="$(line USER)" "$root" "$entry" "$@"
}

start evener image --admin "127.0.0.1:${ports[admin]}" -l "127.0.0.1:${ports[evener]}" "127.0.0.1:${ports[backend]}"
wait_for evener "Load Balancer started on"
for _ in 1 2 3 4 5; do
    ask 127.0.0.1 "http://127.0.0.1:${ports[evener]}/"
    expect_answer "Hello from Backend Server on port: ${ports[backend]}"
done
ok "it serves, with nothing around it"

read -ra check < <(line HEALTHCHECK | sed 's/.*CMD //' | tr -d '[]",')
[[ ${check[0]} == "$entry" ]] || fail "the image has no ${check[0]}"
(image "${check[@]:1}" --admin "127.0.0.1:${ports[admin]}") >"$scratch/check.log" 2>&1 ||
    fail "the image's health check fails"
ok "the image's health check finds it well"

user="$(awk '$1 == "Uid:" { print $2 }' "/proc/${pids[evener]}/status")"
[[ $user:* == "$(line USER | cut -d: -f1):*" ]] || fail "it runs as user $user"
ok "it runs as user $user"

signal="$(line STOPSIGNAL)"
kill -"${signal#SIG}" "${pids[evener]}"
status=0
wait "${pids[evener]}" || status=$?
unset "pids[evener]"
((status == 0)) || fail "$signal ends it with exit code $status"
ok "$signal ends it in order"

status=0
(image --config /etc/evener/evener.yaml) >"$scratch/none.log" 2>&1 || status=$?
((status == 1)) || fail "without a config it ends with exit code $status"
grep -q '/etc/evener/evener.yaml' "$scratch/none.log" || fail "it doesn't say which file is missing"
ok "without a config it says so: $(head -n 1 "$scratch/none.log")"
