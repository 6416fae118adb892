# Sourced before the command of every job: . workflow/job.sh FOLDER
#
# The job runs the code of this working tree, which is what the fingerprints are taken of, with the programs in FOLDER,
# the environment that snakemake itself runs in; in a container, with the container's own.

set -euo pipefail # what Snakemake sets where nothing is set
export PYTHONPATH
PYTHONPATH="$(cd "$(dirname "${BASH_SOURCE[0]}")/../src" && pwd)"
[ -n "${APPTAINER_CONTAINER:-}" ] || export PATH="$1:$PATH"
[ -z "${APPTAINER_CONTAINER:-}" ] || unset TELLSIGN_FORK_SERVER # it would run the host's programs

# A process that the system kills for want of memory says nothing itself.
tellsign() {
    local stage=$1 status=0
    [ "$1" != --gpus ] || stage=$3
    if [ -n "${TELLSIGN_FORK_SERVER:-}" ]; then
        python -I -S "$PYTHONPATH/../workflow/fork_client.py" "$TELLSIGN_FORK_SERVER" "$@" || status=$?
    else
        command tellsign "$@" || status=$?
    fi
    [ $status -ne 137 ] || echo "$stage was killed (SIGKILL), most often for want of memory: run fewer jobs at once" \
        "(--cores), or give it a smaller batch size or a machine with more, and run the same command again; finished" \
        "stages and epochs are kept." >&2
    return $status
}
