#!/usr/bin/env bash
# The stage for record.sh: namespaces, links, servers, and the processes that are ended afterwards. Sourced, not run;
# record.sh sets $here, $out, $work, $ns, $themes, $started and $captures.

# ---- servers ---------------------------------------------------------------------------------------------------------

# Web (80, 443), names (53) and echo (7) in a namespace; the address is the one that the names lead to.
serve() {
  local place=$1 address=$2
  if [ ! -e "$work/web" ]; then
    mkdir "$work/web"
    for size in $(seq 0 9); do head -c $((200 + size * size * 220)) /dev/zero | tr '\0' 'a' >"$work/web/page$size"; done
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=town.example \
      -addext subjectAltName=DNS:town.example -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
    chmod -R a+rX "$work"
  fi
  cat >"$work/nginx-$place.conf" <<NGINX
user root; worker_processes 1; pid $work/nginx-$place.pid; error_log $work/nginx-$place.log; daemon off;
events { worker_connections 512; }
http {
  access_log off; client_body_temp_path $work/b-$place; proxy_temp_path $work/p-$place; fastcgi_temp_path $work/f-$place;
  uwsgi_temp_path $work/u-$place; scgi_temp_path $work/s-$place;
  server {
    listen 80; listen [::]:80; listen 443 ssl; listen [::]:443 ssl;
    ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem;
    root $work/web;
    location = /upload { return 204; }
  }
}
NGINX
  run "$place" nginx -c "$work/nginx-$place.conf" -e "$work/nginx-$place.log"
  local -a names=(--address=/town.example/"$address")
  for i in $(seq 0 5); do names+=(--host-record="shop$i.town.example,$address,2001:db8:30::10"); done
  names+=(--txt-record="big.town.example$(for i in $(seq 14); do printf ',%0200d' "$i"; done)")
  run "$place" dnsmasq -k --conf-file=/dev/null --pid-file= --no-resolv --no-hosts --edns-packet-max=4096 "${names[@]}"
  for kind in TCP4-LISTEN:7,reuseaddr,fork UDP4-LISTEN:7,reuseaddr,fork; do run "$place" socat -b 9000 -T 30 "$kind" PIPE; done
  for kind in TCP6-LISTEN:7 UDP6-LISTEN:7; do run "$place" socat -b 9000 -T 30 "$kind,ipv6only,reuseaddr,fork" PIPE; done
  sleep 0.7
}

# ---- namespaces ------------------------------------------------------------------------------------------------------

build_town() {
  for place in street router shops new; do space "$place"; done
  # The street is a switch in the router's namespace, so that one capture sees every client.
  ip -n "$ns-router" link add street address 02:00:00:20:00:01 type bridge
  cable street street 02:00:00:20:00:10 router port1 02:00:00:20:00:02 1500
  cable new new 02:00:00:20:00:99 router port2 02:00:00:20:00:03 1500
  cable router shops 02:00:00:30:00:01 shops shops 02:00:00:30:00:10 1400
  for port in port1 port2; do ip -n "$ns-router" link set "$port" master street; done
  in_ns router sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
  address router street 10.20.0.1/24 2001:db8:20::1/64
  address router shops 10.30.0.1/24 2001:db8:30::1/64
  for i in $(seq 10 49); do address street street "10.20.0.$i/24" "2001:db8:20::$i/64"; done
  for i in 10 20 53 66; do address shops shops "10.30.0.$i/24" "2001:db8:30::$i/64"; done
  for six in -4 -6; do
    local street=10.20.0.1 shops=10.30.0.1
    [ $six = -6 ] && street=2001:db8:20::1 shops=2001:db8:30::1
    ip -n "$ns-street" $six route add default via $street
    ip -n "$ns-shops" $six route add default via $shops
  done
  ip -n "$ns-router" route add unreachable 203.0.113.0/24
  ip -n "$ns-router" route add prohibit 198.51.100.0/24
  sleep 1
}

build_wire() {
  for place in left right; do space "$place"; done
  cable left wire 02:00:00:40:00:01 right wire 02:00:00:40:00:02 1500
  address left wire 10.40.0.1/24 2001:db8:40::1/64
  address right wire 10.40.0.2/24 2001:db8:40::2/64
}

space() {
  ip netns add "$ns-$1"
  ip -n "$ns-$1" link set lo up
  # Errors are not held back, and addresses are there at once.
  in_ns "$1" sh -c 'echo 0 >/proc/sys/net/ipv4/icmp_ratelimit; echo 0 >/proc/sys/net/ipv6/icmp/ratelimit
    echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad; echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad'
}

# cable PLACE DEVICE MAC  PLACE DEVICE MAC  MTU; without offloads, so that packets are as they would be on a wire
cable() {
  ip -n "$ns-$1" link add "$2" address "$3" mtu "$7" type veth peer name "$5" address "$6" mtu "$7" netns "$ns-$4"
  for end in "$1 $2" "$4 $5"; do
    set -- $end
    in_ns "$1" ethtool -K "$2" tx off rx off tso off gso off gro off >/dev/null 2>&1
    ip -n "$ns-$1" link set "$2" up
  done
}

address() {
  ip -n "$ns-$1" link set "$2" up
  ip -n "$ns-$1" addr add "$3" dev "$2"
  ip -n "$ns-$1" addr add "$4" dev "$2" nodad
}

# carry DEVICE MODE ARGUMENTS: both ends; the arguments are those of the left end
carry() {
  local device=$1 mode=$2
  shift 2
  local -a left=("$@") right=("$@")
  for i in "${!left[@]}"; do
    case ${left[i]} in
      10.40.0.1) right[i]=10.40.0.2 ;;
      10.40.0.2) right[i]=10.40.0.1 ;;
      peer) left[i]=02:00:00:40:00:02 right[i]=02:00:00:40:00:01 ;;
    esac
  done
  run left python3 "$here/carry.py" "$device" "$mode" "${left[@]}"
  run right python3 "$here/carry.py" "$device" "$mode" "${right[@]}"
  for place in left right; do
    for _ in $(seq 50); do
      ip -n "$ns-$place" link show "$device" >/dev/null 2>&1 && break
      sleep 0.1
    done
  done
}

# plug DEVICE NET: gives both ends of a carried link their addresses, NET.1 and NET.2
plug() {
  local six number=1
  six="2001:db8:$(cut -d. -f2,3 <<<"$2" | tr . :)"
  for place in left right; do
    ip -n "$ns-$place" link set "$1" mtu 1400
    in_ns "$place" ip link show "$1" | grep -q link/ether &&
      ip -n "$ns-$place" link set "$1" address "02:00:00:41:$(printf %02x "${2##*.}"):0$number"
    address "$place" "$1" "$2.$number/24" "$six::$number/64"
    number=$((number + 1))
  done
}

in_ns() {
  local place=$1
  shift
  ip netns exec "$ns-$place" "$@"
}

# ---- processes -------------------------------------------------------------------------------------------------------

# Starts a server that `clean` ends. `ip netns exec` becomes the command, so the id is the command's own.
run() {
  local place=$1
  shift
  ip netns exec "$ns-$place" "$@" </dev/null >>"$work/log" 2>&1 &
  started+=($!)
}

# capture FILE PLACE DEVICE OPTIONS
capture() {
  local file=$1 place=$2 device=$3
  shift 3
  ip netns exec "$ns-$place" tcpdump -n -U -Z root -i "$device" -w "$out/$file" "$@" 2>"$work/$file.log" &
  captures+=($!)
  listening "$work/$file.log" 'listening on'
}

# capture_ng FILE PLACE OPTIONS: pcapng, cleaned of what it says of this machine
capture_ng() {
  local file=$1 place=$2
  shift 2
  ip netns exec "$ns-$place" dumpcap -q -n -w "$work/$file" "$@" 2>"$work/$file.log" &
  captures+=($!)
  listening "$work/$file.log" '^File:'
  strip=$file
}

listening() {
  for _ in $(seq 50); do
    grep -q "$2" "$1" && return
    sleep 0.1
  done
  cat "$1" >&2
  return 1
}

finish() {
  sleep 1
  for process in "${captures[@]}"; do
    kill -INT "$process"
    wait "$process" || true
  done
  captures=()
  [ -z "$strip" ] || python3 "$here/plain.py" "$work/$strip" "$out/$strip"
  strip=
}

wanted() {
  [ ${#themes[@]} -eq 0 ] && return
  for theme in "${themes[@]}"; do [ "$theme" = "$1" ] && return; done
  return 1
}

clean() {
  trap - EXIT
  for process in "${captures[@]}" "${started[@]}"; do kill "$process" 2>/dev/null || true; done
  wait 2>/dev/null || true
  for place in street router shops new left right; do ip netns del "$ns-$place" 2>/dev/null || true; done
  rm -rf "$work"
}
