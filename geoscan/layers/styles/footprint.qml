{% extends "base.qml" %}
{% import "parts.qml" as parts %}
{% block look %}
  <renderer-v2 type="singleSymbol" symbollevels="0" enableorderby="0" forceraster="0">
    <symbols>
      <symbol name="0" type="fill" alpha="1" clip_to_extent="1" force_rhr="0">
{{ parts.driven({}) }}
{{ parts.fill({"style": "no", "outline_color": "0,0,0,180", "outline_style": "solid", "outline_width": "0.9"}) }}
{{ parts.fill({"style": "no", "outline_color": "255,255,255,255", "outline_style": "dash", "outline_width": "0.4"}) }}
      </symbol>
    </symbols>
  </renderer-v2>
{% endblock %}
{% block tip %}
<b>[% {{ safe("scene") }} %]</b><br>
[% {{ safe("product") }} %], [% {{ safe("date") }} %]<br>
[% format_number(100 * "observed", 1) %] % of [% format_number("area_ha", 0) %] ha observed, by [% {{ safe("model") }} %]
{% endblock %}
