#!/bin/sh
# Build Horovod for the PyTorch of a Python environment.  Usage: tools/install_horovod.sh PYTHON FOLDER
# PYTHON has torch; FOLDER is for the build and is removed at the end.
#
# Horovod's newest release, 0.28.1, asks for C++14, and today's PyTorch headers for more; its wheels are of source only.
# Gloo carries the messages between processes: it comes with Horovod and needs neither MPI nor a GPU.
set -eu

python=$1
folder=$2
version=0.28.1

rm -rf "$folder"
mkdir -p "$folder"
"$python" -m pip download -qq --disable-pip-version-check --no-deps --no-binary horovod --no-build-isolation \
    --dest "$folder" "horovod==$version"
tar -xzf "$folder/horovod-$version.tar.gz" -C "$folder"
source=$folder/horovod-$version
sed -i 's/set(CMAKE_CXX_STANDARD 14)/set(CMAKE_CXX_STANDARD 20)/' \
    "$source/CMakeLists.txt" "$source/horovod/torch/CMakeLists.txt"
# Wheel and setuptools of the environment itself build it: an environment apart would bring another torch.
"$python" -m pip install -qq --disable-pip-version-check "setuptools>=77,<81" wheel packaging cloudpickle psutil pyyaml
if ! CMAKE_POLICY_VERSION_MINIMUM=3.5 HOROVOD_WITH_PYTORCH=1 HOROVOD_WITHOUT_TENSORFLOW=1 HOROVOD_WITHOUT_MXNET=1 \
    HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_MPI=1 \
    "$python" -m pip install --disable-pip-version-check --no-build-isolation "$source" >"$folder/log.txt" 2>&1; then
    tail -n 40 "$folder/log.txt" >&2
    echo "Horovod could not be built; the whole log: $folder/log.txt" >&2
    exit 1
fi
rm -rf "$folder"
