{% extends "base.qml" %}
{% import "parts.qml" as parts %}
{% block scales %}hasScaleBasedVisibilityFlag="1" minScale="1000000" maxScale="0"{% endblock %}
{% block look %}
  <renderer-v2 type="graduatedSymbol" graduatedMethod="GraduatedColor" attr="artisanal_mine" symbollevels="0" enableorderby="0" forceraster="0">
    <ranges>
{% for low, high, color in classes %}
      <range lower="{{ low }}" upper="{{ high }}" label="{{ low }} to {{ high }}" symbol="{{ loop.index0 }}" render="true"/>
{% endfor %}
    </ranges>
    <symbols>
{% for low, high, color in classes %}
      <symbol name="{{ loop.index0 }}" type="fill" alpha="1" clip_to_extent="1" force_rhr="0">
{{ parts.driven({}) }}
{{ parts.fill({"style": "no" if loop.first else "solid", "color": color + ",45", "outline_color": "255,255,255,60", "outline_style": "solid", "outline_width": "0.1"}) }}
      </symbol>
{% endfor %}
    </symbols>
  </renderer-v2>
{% endblock %}
{% block tip %}
<b>[% {{ safe("scene") }} %]</b>, chip [% "chip" %]<br>
Mine score: [% coalesce(format_number("artisanal_mine", 2), 'none') %][% if("flagged", ', part of a detection', '') %]<br>
[% "sight" %], [% format_number(100 * "observed", 0) %] % with data
{% endblock %}
