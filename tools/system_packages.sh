#!/bin/sh
# Install the Debian or Ubuntu packages that are missing.  Usage: tools/system_packages.sh PYTHON NEED…
# with NEED one of: runtime, qgis, window, qgis-tests, horovod, qt6.  Says nothing and starts no apt where all is there.
set -eu

python=$1
shift
packages=""

need() { # need PACKAGE TEST…: the package, unless the test succeeds
    package=$1
    shift
    "$@" >/dev/null 2>&1 || packages="$packages $package"
}

a_font() { find /usr/share/fonts -name 'DejaVuSans.ttf' | grep -q .; }
library() { ldconfig -p 2>/dev/null | grep -qF "$1" || /sbin/ldconfig -p | grep -qF "$1"; }

for what in "$@"; do
    case $what in
    runtime)
        need python3 command -v "$python"
        # Debian keeps ensurepip, which venv needs, in a package of its own.
        need python3-venv "$python" -c "import venv, ensurepip"
        ;;
    qgis)
        need qgis command -v qgis_process
        need python3-qgis test -e /usr/lib/python3/dist-packages/qgis/core/__init__.py
        # Without recommended packages, newer releases bring no proportional font.
        need fonts-dejavu-core a_font
        ;;
    window)
        need xvfb command -v Xvfb
        need xauth command -v xauth
        ;;
    qgis-tests)
        need python3-pytest test -e /usr/lib/python3/dist-packages/pytest/__init__.py
        # Tests look at results with the GDAL of the system, too.
        need gdal-bin command -v gdalinfo
        ;;
    horovod)
        need cmake command -v cmake
        need g++ command -v g++
        need make command -v make
        # The headers of the Python that is used; where it is none of Debian's, it brings its own.
        need python3-dev "$python" -c "import sysconfig, os; open(os.path.join(sysconfig.get_path('include'), 'Python.h'))"
        ;;
    qt6)
        need libegl1 library libEGL.so.1
        need libgl1 library libGL.so.1
        need libxkbcommon0 library libxkbcommon.so.0
        need libdbus-1-3 library libdbus-1.so.3
        need libfontconfig1 library libfontconfig.so.1
        ;;
    *)
        echo "system_packages.sh: unknown need $what" >&2
        exit 2
        ;;
    esac
done

if [ -n "$packages" ]; then
    sudo=""
    if [ "$(id -u)" != 0 ]; then
        sudo="sudo"
    fi
    if ! command -v apt-get >/dev/null || ! command -v ${sudo:-true} >/dev/null; then
        echo "Missing, and not installed for want of apt-get or of the right to use it:$packages" >&2
        echo "Install these Debian or Ubuntu packages, or what answers to them on your system." >&2
        exit 1
    fi
    echo "Installing system packages:$packages"
    $sudo apt-get update -qq
    # shellcheck disable=SC2086  # one word per package
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages
fi

case " $* " in
*" runtime "*)
    if ! "$python" -c "import sys; sys.exit(sys.version_info < (3, 10))"; then
        echo "Thematica's runtime needs Python 3.10 or newer; name one with: make PYTHON=/path/to/python3" >&2
        exit 1
    fi
    if ! "$python" -c "import venv, ensurepip" 2>/dev/null; then
        echo "$python has no venv; install it, or name another with: make PYTHON=/usr/bin/python3" >&2
        exit 1
    fi
    ;;
esac
