#!/bin/sh
# The operator's hooks in the long run: hook.sh FOLDER start|stop. Every step is a line of FOLDER/hook.record.
# FOLDER/hook.start and hook.stop say what to do; FOLDER/renter.LEASE how the buyer's work runs; FOLDER/door, where there
# is one, is the part of the answer that names a server.
folder=$1 action=$2
now() { date +%s%3N; }
note() { echo "$(now) $action $1 $HOURBOOK_LEASE_ID $2 $HOURBOOK_GPU_UUIDS" >>"$folder/hook.record"; }
flood() { head -c 2000000 /dev/zero | tr '\0' x; echo; }

note began 0
read -r how until_ms <"$folder/hook.$action"
case $how in
    exits) echo "no place for the buyer" >&2; exit 1 ;;
    garbage) echo welcome; echo '{"endpoint":'; exit 0 ;;
    hangs) sleep 45; exit 1 ;;
    silent) exit 0 ;;
    oversized) echo "{\"endpoint\":\"played://$(head -c 5000 /dev/zero | tr '\0' x)\",\"pid\":$$}"; exit 0 ;;
    killed) kill -9 $$ ;;
    no_process) echo "{\"endpoint\":\"played://$HOURBOOK_LEASE_ID\",\"pid\":2147483646}"; exit 0 ;;
    flood) flood ;;
    late) while [ "$(now)" -lt "$until_ms" ]; do sleep 0.1; done ;;
esac
if [ "$action" = stop ]; then
    [ -e "$folder/tenant.$HOURBOOK_LEASE_ID" ] && kill "$(cat "$folder/tenant.$HOURBOOK_LEASE_ID")" 2>/dev/null
    note ended 0
    exit 0
fi
renter=works work="$folder/work.$HOURBOOK_LEASE_ID"
[ -e "$folder/renter.$HOURBOOK_LEASE_ID" ] && read -r renter <"$folder/renter.$HOURBOOK_LEASE_ID"
rm -f "$work"
resident_elsewhere="sh -c 'echo \$\$ >\$0.new; mv \$0.new \$0; exec sleep 900' '$work'"
case $renter in
    without_variable) env -u HOURBOOK_LEASE_ID sleep 900 >/dev/null 2>&1 </dev/null & ;;
    outlives) sh -c "sleep 900 & echo \$! >'$work.new'; mv '$work.new' '$work'; wait" >/dev/null 2>&1 </dev/null & ;;
    daemon) sh -c "(setsid $resident_elsewhere &); exec sleep 900" >/dev/null 2>&1 </dev/null & ;;
    bare_daemon) sh -c "(env -i setsid $resident_elsewhere &); exec sleep 900" >/dev/null 2>&1 </dev/null & ;;
    *) sleep 900 >/dev/null 2>&1 </dev/null & ;;
esac
tenant=$!
echo $tenant >"$folder/tenant.$HOURBOOK_LEASE_ID"
case $renter in outlives | daemon | bare_daemon) while [ ! -e "$work" ]; do sleep 0.02; done ;; esac
[ -e "$work" ] && resident=$(cat "$work") || resident=$tenant
if [ -e "$folder/door" ]; then at=$(cat "$folder/door"); else at="\"endpoint\":\"played://$HOURBOOK_LEASE_ID\""; fi
echo "{$at,\"pid\":$tenant}"
note ended $resident
