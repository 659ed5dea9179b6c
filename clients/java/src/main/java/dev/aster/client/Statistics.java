package dev.aster.client;

/**
 * Counters of one subscription since it was made.
 *
 * @param received events handed to the reader or waiting for it
 * @param duplicates events dropped because they had been received before
 * @param reconnects times the stream was opened again
 * @param gaps gap frames
 * @param missed events those gaps named
 */
public record Statistics(long received, long duplicates, long reconnects, long gaps, long missed) {}
