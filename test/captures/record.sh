#!/usr/bin/env bash
# Records the captures of this folder: real programs talking in network namespaces made for the purpose.
#
#   sudo test/captures/record.sh [FOLDER] [THEME...]      themes: town web dns media errors sctp vlan tunnels
#
# Debian packages: iproute2 ethtool tcpdump wireshark-common nginx-light openssl curl dnsmasq-base udhcpc bind9-dnsutils
#                  iputils-ping traceroute socat iperf3 ffmpeg libusrsctp-examples python3
#
# Everything it makes carries the prefix $ns, it ends only what it started, and nothing leaves the namespaces: they have
# no route to the machine's network. Addresses are private or for documentation, MAC addresses locally administered.
#
#   street 10.20.0.10-49 ──── router ──── shops 10.30.0.10 web, .20 media, .53 names, .66 SCTP
#   2001:db8:20::/64    capture ▲  link to the shops: 1,400 bytes         2001:db8:30::/64
#   left 10.40.0.1 ──── wire ──── right 10.40.0.2       (vlan, tunnels)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=$(realpath -m "${1:-$here}")
shift || true
themes=("$@")
work=$(mktemp -d)
chmod 755 "$work"
ns=fh$$
declare -a started=() captures=()
strip=
mkdir -p "$out"

main() {
  trap clean EXIT
  build_town
  build_wire
  serve shops 10.30.0.10
  for theme in town web dns media errors sctp vlan tunnels; do
    if wanted "$theme"; then
      echo "== $theme" >&2
      "record_$theme"
    fi
  done
}

# ---- themes ----------------------------------------------------------------------------------------------------------

record_town() {
  capture town.pcap router street --time-stamp-precision=micro
  sctp_echo 10.30.0.66
  in_ns street ping -q -i 1 -c 24 -I 10.20.0.10 10.30.0.10 >/dev/null &
  started+=($!)
  media_receiver 20 10.30.0.20 5004 PCMU/8000 0
  in_ns street ffmpeg -nostdin -v error -re -f lavfi -i sine=frequency=440:sample_rate=8000 -t 22 -c:a pcm_mulaw -f rtp \
    -cname street "rtp://10.30.0.20:5004?localaddr=10.20.0.20" >/dev/null 2>&1 &
  started+=($!)
  talk street "TCP4:10.30.0.10:7,bind=10.20.0.12" 40 &
  started+=($!)
  talk street "TCP6:[2001:db8:30::10]:7,bind=[2001:db8:20::13]" 40 &
  started+=($!)
  talk street "UDP4:10.30.0.10:7,bind=10.20.0.14" 40 &
  started+=($!)
  sctp_talk street 10.30.0.66 7 20 &
  started+=($!)
  local -a clients=()
  for number in $(seq 16 35); do
    client "$number" 24 >/dev/null 2>&1 &
    clients+=($!)
  done
  wait "${clients[@]}"
  finish
}

record_web() {
  # The same traffic twice: whole, and only the first 64 bytes of every packet.
  capture web.pcap router street --time-stamp-precision=micro
  capture web-short.pcap router street -s 64
  local get="curl -s -o /dev/null --cacert $work/cert.pem --resolve town.example:443:10.30.0.10"
  for size in 0 3 6 9; do
    in_ns street $get --interface 10.20.0.15 "http://10.30.0.10/page$size"
    in_ns street $get --interface 10.20.0.16 "https://town.example/page$size"
    in_ns street $get --interface 2001:db8:20::17 "http://[2001:db8:30::10]/page$size"
  done
  # One connection, many requests; an upload larger than the link to the shops (path MTU discovery); a refused port.
  in_ns street $get --interface 10.20.0.18 -o /dev/null "http://10.30.0.10/page[0-9]"
  in_ns street $get --interface 10.20.0.19 --data-binary "@$work/web/page9" http://10.30.0.10/upload
  in_ns street $get --interface 2001:db8:20::19 --data-binary "@$work/web/page9" "http://[2001:db8:30::10]/upload"
  in_ns street $get --interface 10.20.0.18 http://10.30.0.10:81/ || true
  in_ns street $get --interface 10.20.0.18 --max-time 1 --limit-rate 2k http://10.30.0.10/page9 || true
  finish
  gzip -9n "$out/web-short.pcap"
}

record_dns() {
  capture dns-dhcp.pcap router street --time-stamp-precision=nano
  local ask="dig +tries=1 +time=2"
  for name in town.example shop1.town.example shop2.town.example nowhere.town.example; do
    for kind in A AAAA; do
      in_ns street $ask -b 10.20.0.21 @10.30.0.53 "$name" "$kind" >/dev/null
      in_ns street $ask -b 2001:db8:20::22 @2001:db8:30::53 "$name" "$kind" >/dev/null
    done
  done
  # A large answer: in fragments, cut and asked again over TCP, and over TCP at once.
  in_ns street $ask -b 10.20.0.23 +bufsize=4096 @10.30.0.53 big.town.example TXT >/dev/null
  in_ns street $ask -b 2001:db8:20::23 +bufsize=4096 @2001:db8:30::53 big.town.example TXT >/dev/null
  in_ns street $ask -b 10.20.0.24 +bufsize=512 @10.30.0.53 big.town.example TXT >/dev/null
  in_ns street $ask -b 10.20.0.25 +tcp @10.30.0.53 shop1.town.example A >/dev/null
  # A new host asks the router for an address, uses it, and gives it back.
  ip -n "$ns-new" link set new up
  run router dnsmasq -k --port=0 --conf-file=/dev/null --pid-file= --no-ping --dhcp-leasefile="$work/leases" \
    --interface=street --bind-interfaces --dhcp-range=10.20.0.200,10.20.0.220,2m
  printf '#!/bin/sh\n[ "$1" = bound ] && ip addr replace "$ip/24" dev new; exit 0\n' >"$work/lease.sh"
  chmod 755 "$work/lease.sh"
  run new udhcpc -f -R -n -i new -s "$work/lease.sh"
  local guest=$!
  sleep 1.5
  in_ns new ping -q -c 2 -i 0.2 10.20.0.1 >/dev/null || true
  kill -USR2 "$guest"
  sleep 0.5
  ip -n "$ns-new" link set new down
  finish
}

record_media() {
  capture media.pcap router street --time-stamp-precision=nano
  run shops iperf3 -s -B 10.30.0.20
  media_receiver 9 10.30.0.20 5004 PCMU/8000 0
  media_receiver 9 10.30.0.20 5104 opus/48000/2 97
  in_ns street ffmpeg -nostdin -v error -re -f lavfi -i sine=frequency=440:sample_rate=8000 -t 6 -c:a pcm_mulaw -f rtp \
    -cname street "rtp://10.30.0.20:5004?localaddr=10.20.0.26" >/dev/null 2>&1 &
  local voice=$!
  in_ns street ffmpeg -nostdin -v error -re -f lavfi -i sine=frequency=880:sample_rate=48000 -t 6 -c:a libopus -b:a 24k \
    -f rtp -cname street "rtp://10.30.0.20:5104?localaddr=10.20.0.27" >/dev/null 2>&1 &
  local music=$!
  in_ns street iperf3 -c 10.30.0.20 -B 10.20.0.28 -u -b 200k -l 1000 -t 4 >/dev/null
  in_ns street iperf3 -c 10.30.0.20 -B 10.20.0.28 -b 150k -l 1000 -t 3 >/dev/null
  wait $voice $music || true
  finish
}

record_errors() {
  # Of all interfaces of the router: the link type is Linux cooked v2, and a forwarded packet is there twice.
  capture errors-fragments.pcap router any --time-stamp-precision=nano
  in_ns street ping -q -c 3 -i 0.2 -s 3000 -I 10.20.0.29 10.30.0.10 >/dev/null
  in_ns street ping -q -c 3 -i 0.2 -s 3000 -I 2001:db8:20::29 2001:db8:30::10 >/dev/null
  in_ns street ping -q -c 2 -i 0.2 -s 9000 -I 10.20.0.29 10.30.0.10 >/dev/null
  # Time exceeded, port unreachable.
  in_ns street traceroute -n -q 2 -w 1 -s 10.20.0.30 10.30.0.10 >/dev/null
  in_ns street traceroute -6 -n -q 2 -w 1 -s 2001:db8:20::30 2001:db8:30::10 >/dev/null
  # Port unreachable; no route; prohibited; no such neighbour.
  for target in 10.30.0.10 10.30.0.250 203.0.113.1 198.51.100.1; do
    echo hello | in_ns street timeout 2 socat -t 0.3 - "UDP4:$target:9999,bind=10.20.0.31" >/dev/null 2>&1 || true
  done
  for target in 2001:db8:30::10 2001:db8:30::250 2001:db8:dead::1; do
    echo hello | in_ns street timeout 2 socat -t 0.3 - "UDP6:[$target]:9999,bind=[2001:db8:20::31]" >/dev/null 2>&1 || true
  done
  # Datagrams larger than the path, in fragments both ways; then too large with fragmenting forbidden.
  head -c 5000 /dev/zero | tr '\0' 'x' >"$work/datagram"
  in_ns street timeout 2 socat -b 8000 -t 0.5 "FILE:$work/datagram" UDP4:10.30.0.10:7,bind=10.20.0.32 >/dev/null
  in_ns street timeout 2 socat -b 8000 -t 0.5 "FILE:$work/datagram" "UDP6:[2001:db8:30::10]:7,bind=[2001:db8:20::32]" >/dev/null
  in_ns street ping -q -c 2 -i 0.2 -M do -s 1450 -I 10.20.0.33 10.30.0.10 >/dev/null 2>&1 || true
  in_ns street ping -q -c 2 -i 0.2 -M do -s 1430 -I 2001:db8:20::33 2001:db8:30::10 >/dev/null 2>&1 || true
  in_ns street curl -s -o /dev/null --interface 10.20.0.33 --data-binary "@$work/web/page6" http://10.30.0.10/upload
  finish
}

record_sctp() {
  capture sctp.pcap router street --time-stamp-precision=micro
  sctp_echo 10.30.0.66
  sctp_talk street 10.30.0.66 7 6
  # Nobody listens at this port, and this stack says nothing to that: the INIT is sent again and again.
  sctp_talk street 10.30.0.66 9 2 10
  finish
}

record_vlan() {
  carry vlan10 vlan wire 10
  carry vlan20 vlan wire 20
  carry qinq qinq wire 100 30
  capture vlan.pcap left wire --time-stamp-precision=micro
  plug vlan10 10.41.10
  plug vlan20 10.41.20
  plug qinq 10.41.30
  serve right 10.41.10.2
  for net in 10.41.10 10.41.20 10.41.30; do talk_over "$net"; done
  finish
}

record_tunnels() {
  carry gre gre 10.40.0.1 10.40.0.2 0
  carry grekey gre 10.40.0.1 10.40.0.2 77
  carry ipip ip 10.40.0.1 10.40.0.2
  carry gtp gtpu 10.40.0.1 10.40.0.2 4660
  carry geneve geneve 10.40.0.1 10.40.0.2 42
  carry mpls mpls wire peer 1040
  carry pppoe pppoe wire peer 17
  ip -n "$ns-left" link add vxlan type vxlan id 500 local 10.40.0.1 remote 10.40.0.2 dstport 4789
  ip -n "$ns-right" link add vxlan type vxlan id 500 local 10.40.0.2 remote 10.40.0.1 dstport 4789
  # The wire and, as a second and third interface without Ethernet headers, what goes in and out of two tunnels.
  ip -n "$ns-left" link set gre up
  ip -n "$ns-left" link set gtp up
  capture_ng tunnels.pcapng left -i wire -i gre -i gtp
  local number=1
  for device in gre grekey ipip gtp geneve mpls pppoe vxlan; do
    plug "$device" "10.50.$number"
    [ "$device" = gre ] && serve right 10.50.1.2
    talk_over "10.50.$number"
    number=$((number + 1))
  done
  finish
}

# ---- clients ---------------------------------------------------------------------------------------------------------

# One inhabitant of the town, at 10.20.0.NUMBER and 2001:db8:20::NUMBER, for some seconds.
client() {
  local number=$1 four="10.20.0.$1" six="2001:db8:20::$1" web="curl -s -o /dev/null --max-time 5 --cacert $work/cert.pem"
  local until=$((SECONDS + $2)) name
  RANDOM=$number
  sleep "$((RANDOM % 2)).$((RANDOM % 10))"
  while [ "$SECONDS" -lt "$until" ]; do
    name="shop$((RANDOM % 6)).town.example"
    case $((RANDOM % 12)) in
      0 | 1 | 2)
        in_ns street dig +tries=1 +time=2 -b "$four" @10.30.0.53 "$name" A
        in_ns street $web --interface "$four" "http://10.30.0.10/page$((RANDOM % 8))"
        ;;
      3) in_ns street $web --interface "$four" --resolve town.example:443:10.30.0.10 "https://town.example/page$((RANDOM % 5))" ;;
      4) in_ns street $web --interface "$six" --resolve "town.example:443:[2001:db8:30::10]" "https://town.example/page$((RANDOM % 5))" ;;
      5 | 6)
        in_ns street dig +tries=1 +time=2 -b "$six" @2001:db8:30::53 "$name" AAAA
        in_ns street $web --interface "$six" "http://[2001:db8:30::10]/page$((RANDOM % 8))"
        ;;
      7) in_ns street $web --interface "$four" "http://10.30.0.10/page[0-3]" ;;
      8) in_ns street $web --interface "$four" --data-binary "@$work/web/page5" http://10.30.0.10/upload ;;
      9) in_ns street dig +tries=1 +time=2 -b "$four" +bufsize=4096 @10.30.0.53 big.town.example TXT ;;
      10)
        in_ns street ping -q -c 2 -i 0.3 -I "$four" 10.30.0.10
        in_ns street ping -q -c 1 -s 2000 -I "$six" 2001:db8:30::10
        ;;
      11) echo hello | in_ns street timeout 1 socat -t 0.2 - "UDP4:10.30.0.10:$((9000 + number)),bind=$four" || true ;;
    esac
    sleep "$((RANDOM % 2 + 1)).$((RANDOM % 9 + 1))"
  done
}

# Some words every half second over one long flow: talk NAMESPACE SOCAT-ADDRESS TIMES
talk() {
  for i in $(seq "$3"); do
    echo "word $i of a long talk that goes on for as long as there is something to say"
    sleep 0.5
  done | in_ns "$1" socat -t 0.5 - "$2" >/dev/null 2>&1
}

# What is said over a VLAN or tunnel whose net is NET: web over IPv4 and IPv6, ping, a large ping, a closed port.
talk_over() {
  local net=$1 six
  six="2001:db8:$(cut -d. -f2,3 <<<"$1" | tr . :)::2"
  in_ns left ping -q -c 3 -i 0.2 -W 1 "$net.2" >/dev/null
  in_ns left ping -q -c 2 -i 0.2 -W 1 -s 2500 "$net.2" >/dev/null
  in_ns left ping -q -c 2 -i 0.2 -W 1 "$six" >/dev/null
  in_ns left curl -s -o /dev/null --max-time 5 "http://$net.2/page3"
  in_ns left curl -s -o /dev/null --max-time 5 "http://[$six]/page2"
  in_ns left dig +tries=1 +time=2 "@$net.2" shop1.town.example A >/dev/null
  echo hello | in_ns left timeout 1 socat -t 0.2 - "UDP4:$net.2:9999" >/dev/null 2>&1 || true
}

sctp_echo() {
  run shops stdbuf -o0 /usr/lib/usrsctp/echo_server 0 0
}

# Lines to the SCTP echo server and back: sctp_talk NAMESPACE ADDRESS PORT TIMES [SECONDS]
sctp_talk() {
  for i in $(seq "$4"); do
    echo "line $i over SCTP"
    sleep 0.8
  done | in_ns "$1" timeout "${5:-25}" /usr/lib/usrsctp/client "$2" "$3" 0 0 0 >/dev/null 2>&1 || true
}

# A player that takes RTP: media_receiver SECONDS ADDRESS PORT CODEC PAYLOAD-TYPE
media_receiver() {
  cat >"$work/$3.sdp" <<SDP
v=0
o=- 0 0 IN IP4 $2
s=-
c=IN IP4 $2
t=0 0
m=audio $3 RTP/AVP $5
a=rtpmap:$5 $4
SDP
  run shops timeout "$1" ffmpeg -nostdin -v error -protocol_whitelist file,rtp,udp -i "$work/$3.sdp" -f null -
  sleep 0.5
}

# shellcheck source=stage.sh
. "$here/stage.sh"
main
