package dev.aster.conformance;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.List;
import java.util.stream.StreamSupport;

/**
 * One step of the scenario; fields that it does not name are empty.
 *
 * @param json as it stands there
 */
record Step(JsonObject json) {
  boolean has(String field) {
    return json.has(field);
  }

  String text(String field) {
    return has(field) ? json.get(field).getAsString() : "";
  }

  int number(String field) {
    return has(field) ? json.get(field).getAsInt() : 0;
  }

  double seconds() {
    return json.get("seconds").getAsDouble();
  }

  List<String> texts(String field) {
    return all(field).stream().map(JsonElement::getAsString).toList();
  }

  List<Integer> numbers(String field) {
    return all(field).stream().map(JsonElement::getAsInt).toList();
  }

  private List<JsonElement> all(String field) {
    JsonArray array = has(field) ? json.getAsJsonArray(field) : new JsonArray();
    return StreamSupport.stream(array.spliterator(), false).toList();
  }
}
