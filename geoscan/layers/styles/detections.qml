{% extends "base.qml" %}
{% import "parts.qml" as parts %}
{% block labelled %}1{% endblock %}
{% block look %}
  <renderer-v2 type="graduatedSymbol" graduatedMethod="GraduatedColor" attr="coalesce(&quot;probability&quot;, &quot;score_max&quot;, 0)" symbollevels="0" enableorderby="0" forceraster="0">
    <ranges>
{% for low, high, color in classes %}
      <range lower="{{ low }}" upper="{{ high }}" label="{{ low }} to {{ high }}" symbol="{{ loop.index0 }}" render="true"/>
{% endfor %}
    </ranges>
    <symbols>
{% for low, high, color in classes %}
      <symbol name="{{ loop.index0 }}" type="fill" alpha="1" clip_to_extent="1" force_rhr="0">
{{ parts.driven({"alpha": "if(\"review\" = 'not_mine', 35, 100)"} if "review" in fields else {}) }}
{{ parts.fill({"style": "no", "outline_color": "0,0,0,160", "outline_style": "solid", "outline_width": "1.2"}) }}
{{ parts.fill({"style": "solid", "color": color + ",40", "outline_color": color + ",255", "outline_style": "solid", "outline_width": "0.6"},
              {"outlineStyle": "if(\"status\" = 'gone', 'dot', if(\"status\" = 'known', 'dash', 'solid'))"} if "status" in fields else {}) }}
      </symbol>
{% endfor %}
    </symbols>
  </renderer-v2>
  <labeling type="simple">
    <settings calloutType="simple">
      <text-style isExpression="1" fieldName="format_number(&quot;area_ha&quot;, if(&quot;area_ha&quot; &lt; 10, 1, 0)) || ' ha'{% if "gained_ha" in fields %} || if(&quot;gained_ha&quot; > 0, ' (+' || format_number(&quot;gained_ha&quot;, 1) || ')', ''){% endif %}" fontSize="9" fontSizeUnit="Point" fontWeight="63" textColor="255,255,255,255" textOpacity="1">
        <text-buffer bufferDraw="1" bufferSize="0.8" bufferSizeUnits="MM" bufferColor="30,30,30,255" bufferOpacity="0.8"/>
      </text-style>
      <placement placement="8" polygonPlacementFlags="2" dist="0.5" distUnits="MM" priority="5"/>
      <rendering drawLabels="1" obstacle="1" scaleVisibility="0" fontMinPixelSize="3" fontMaxPixelSize="10000"/>
    </settings>
  </labeling>
{% endblock %}
{% block tip %}
<b>[% {{ safe("scene") }} %]</b><br>
Probability of a mine: [% coalesce(format_number("probability", 2), 'not known') %]<br>
Mine score: [% coalesce(format_number("score_max", 2) || ' at best, ' || format_number("score_mean", 2) || ' on average', 'not known') %]<br>
[% format_number("area_ha", 1) %] ha[% if("n_chips" > 0, ', ' || "n_chips" || if("n_chips" = 1, ' chip', ' chips'), '') %]<br>
{% if "status" in fields %}
[% coalesce({{ safe("status") }} || if("gained_ha" > 0, ', ' || format_number("gained_ha", 1) || ' ha gained', '') || '<br>', '') %]
{% endif %}
{% if "first_seen" in fields %}
[% coalesce('First seen: ' || {{ safe("first_seen") }} || '<br>', '') %]
{% endif %}
{% if "review" in fields %}
[% coalesce('Review: ' || {{ safe("review") }} || '<br>', '') %]
{% endif %}
[% coalesce('Weather: ' || nullif("weather", '') || '<br>', '') %][% coalesce('Also: ' || nullif("other_labels", '') || '<br>', '') %]
[% coalesce({{ safe("model") }} || ', ' || "operate" || ': score ' || format_number("threshold_high", 2) || ' or more', '') %]
{% endblock %}
