#!/usr/bin/env bash
# MQTT: subscribers that are left idle, and hear of what comes after that.
source "$(dirname "${BASH_SOURCE[0]}")/clients"
need mosquitto mosquitto
need mosquitto_sub mosquitto-clients

readonly SUBSCRIBERS=20
choose_port server
printf 'listener %s 0.0.0.0\nallow_anonymous true\nuser root\n' "${ports[server]}" >"$scratch/mosquitto.conf"
start server mosquitto -v -c "$scratch/mosquitto.conf"
wait_for_listener "${ports[server]}"
stand_in_front

subscribe() {
    local subscribers=() n deadline=$((SECONDS + WAIT_SECONDS_MAX))
    for ((n = 0; n < SUBSCRIBERS; n++)); do
        timeout 20 mosquitto_sub -h 127.0.0.1 -p "$port" -i "$port-$n" -t news -C 1 >"$scratch/heard-$n" &
        subscribers+=($!)
    done
    until (($(grep -c "Sending SUBACK to $port-" "$scratch/server.log") >= SUBSCRIBERS)); do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
    sleep 2
    mosquitto_pub -h 127.0.0.1 -p "$port" -t news -m today || return 1
    for ((n = 0; n < SUBSCRIBERS; n++)); do
        wait "${subscribers[n]}" || return 1
        [[ "$(<"$scratch/heard-$n")" == today ]] || return 1
    done
}
each_long "20 mosquitto_sub, idle for 2 s before the message" subscribe
