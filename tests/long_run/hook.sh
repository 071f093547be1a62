#!/bin/sh
# The operator's hooks in the long run: hook.sh FOLDER start|stop. Every step is a line of FOLDER/hook.record.
# FOLDER/hook.start and hook.stop say what to do; FOLDER/plain.LEASE lets the buyer run without his lease's variable.
folder=$1 action=$2
now() { date +%s%3N; }
note() { echo "$(now) $action $1 $HOURBOOK_LEASE_ID $2 $HOURBOOK_GPU_UUIDS" >>"$folder/hook.record"; }

note began 0
read -r how until_ms <"$folder/hook.$action"
if [ "$action" = stop ]; then
    [ "$how" = fails ] && echo "the volume is busy" >&2 && exit 1
    [ -e "$folder/tenant.$HOURBOOK_LEASE_ID" ] && kill "$(cat "$folder/tenant.$HOURBOOK_LEASE_ID")" 2>/dev/null
    note ended 0
    exit 0
fi
case $how in
    exits) echo "no place for the buyer" >&2; exit 1 ;;
    garbage) echo welcome; echo '{"endpoint":'; exit 0 ;;
    late) while [ "$(now)" -lt "$until_ms" ]; do sleep 0.1; done ;;
esac
[ -e "$folder/plain.$HOURBOOK_LEASE_ID" ] && bare="env -u HOURBOOK_LEASE_ID"
$bare sleep 900 >/dev/null 2>&1 </dev/null &
echo $! >"$folder/tenant.$HOURBOOK_LEASE_ID"
echo "{\"endpoint\":\"played://$HOURBOOK_LEASE_ID\",\"pid\":$!}"
note ended $!
