"""Streams of MQTT messages: boxes that publish them, real and made up, files that keep them, and their replay."""
