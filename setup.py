"""Build script; everything declarative lives in setup.cfg."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["bimonn_jax*"]), "bimonn_experiments"])
