"""What `hilum new-system` starts from: a plug-in that works, copied under the name that is asked for."""
